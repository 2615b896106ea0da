/** What was stored on each day, as a page can draw it. */
import type { Schemas } from "../http";

export type Day = Schemas["DayStats"];

const DAY_MS = 24 * 3600 * 1000;

/** The last `count` days up to `now`, also those on which nothing came; newest last. */
export function lastDays(timeline: Day[], count: number, now: number): Day[] {
  const known = new Map(timeline.map((day) => [day.date, day]));
  return Array.from({ length: count }, (_, index) => {
    const date = new Date(now - (count - 1 - index) * DAY_MS).toISOString().slice(0, 10);
    return known.get(date) ?? { date, files: 0, sizeGB: 0, mp4Count: 0, npzCount: 0, zipCount: 0 };
  });
}

/** GB per day over these days. */
export function growth(days: Day[]): number {
  return days.length === 0 ? 0 : days.reduce((sum, { sizeGB }) => sum + sizeGB, 0) / days.length;
}

/** GB of 1024³ bytes in the unit that reads best. */
export function gigabytes(size: number): string {
  if (size >= 1024) return `${(size / 1024).toFixed(2)} TB`;
  if (size >= 1) return `${size.toFixed(2)} GB`;
  if (size * 1024 >= 1) return `${(size * 1024).toFixed(1)} MB`;
  return size === 0 ? "0 MB" : `${Math.max(1, Math.round(size * 1024 * 1024))} kB`;
}

/** Dollars and cents. */
export function dollars(sum: number): string {
  if (sum === 0) return "$0";
  if (sum < 0.01) return "under $0.01";
  return `$${sum.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}
