/** The part of a recording that the lanes show, and what lies where in it. Frames are of the data. */

/** `start` in it, `end` not. */
export interface Interval {
  start: number;
  end: number;
  flag: string;
}

export interface View {
  from: number;
  to: number;
}

export const FLAG_LABELS: Record<string, string> = {
  bothHandsNotInFrame: "Both hands missing",
  handSpeedExceeded: "Too fast",
  trackingErrors: "Tracking error",
};

export const FLAG_LANES = Object.keys(FLAG_LABELS);

/** So much can be told apart on a screen. */
const LEAST_FRAMES = 30;
/** Flags that begin while one is looked at belong to the same place. */
const HERE_FRAMES = 0.5;

export function whole(frames: number): View {
  return { from: 0, to: Math.max(1, frames) };
}

/** `factor` above 1 shows less; the frame `at` stays where it is on the screen. */
export function zoom(view: View, factor: number, at: number, frames: number): View {
  const least = Math.min(LEAST_FRAMES, Math.max(1, frames));
  const length = Math.min(Math.max((view.to - view.from) / factor, least), Math.max(1, frames));
  const share = (at - view.from) / (view.to - view.from);
  return fitted({ from: at - share * length, to: at + (1 - share) * length }, frames);
}

export function pan(view: View, by: number, frames: number): View {
  return fitted({ from: view.from + by, to: view.to + by }, frames);
}

/** Moved, not cut, until it lies within the recording. */
function fitted({ from, to }: View, frames: number): View {
  const length = Math.min(to - from, Math.max(1, frames));
  const start = Math.min(Math.max(0, from), Math.max(1, frames) - length);
  return { from: start, to: start + length };
}

/** The view that has `frame` in it: the same one while it has. */
export function following(view: View, frame: number, frames: number): View {
  if (frame >= view.from && frame <= view.to) return view;
  const length = view.to - view.from;
  return fitted({ from: frame - length * 0.1, to: frame + length * 0.9 }, frames);
}

export function nextFlag(intervals: Interval[], frame: number): Interval | null {
  return ordered(intervals).find(({ start }) => start > frame + HERE_FRAMES) ?? null;
}

export function previousFlag(intervals: Interval[], frame: number): Interval | null {
  return ordered(intervals).findLast(({ start }) => start < frame - HERE_FRAMES) ?? null;
}

function ordered(intervals: Interval[]): Interval[] {
  return [...intervals].sort((a, b) => a.start - b.start);
}

/** What is flagged at a frame, in words. */
export function flagsAt(intervals: Interval[], frame: number): string[] {
  const at = Math.floor(frame + 1e-6);
  const names = intervals.filter(({ start, end }) => start <= at && at < end).map(({ flag }) => flag);
  return FLAG_LANES.filter((flag) => names.includes(flag)).map((flag) => FLAG_LABELS[flag] ?? flag);
}

/** A line through the points, in an SVG that is 1 high with 1 as confidence at the top. */
export function linePath(starts: number[], values: number[]): string {
  return values.map((value, index) => `${index === 0 ? "M" : "L"}${starts[index] ?? 0} ${round(1 - value)}`).join("");
}

/** The area between two lines of the same points. */
export function bandPath(starts: number[], upper: number[], lower: number[]): string {
  if (upper.length === 0) return "";
  const back = lower.map((value, index) => `L${starts[index] ?? 0} ${round(1 - value)}`).reverse();
  return `${linePath(starts, upper)}${back.join("")}Z`;
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

/** Frames of the data per second, from what is known of the recording. */
export function rateOf(fps: number | null, frames: number, videoSeconds: number | null): number {
  if (fps !== null && fps > 0) return fps;
  if (videoSeconds !== null && videoSeconds > 0 && frames > 0) return frames / videoSeconds;
  return 60;
}
