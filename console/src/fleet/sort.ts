/** The order of the fleet's table: worst first, or by one column. */
import { hottestC } from "./condition";
import { minutesLeft } from "./storage";
import type { Row } from "./use-rows";

export type Column =
  | "Headset" | "Status" | "Battery" | "Time left" | "Wi-Fi" | "Hands" | "Confidence" | "Heat" | "App" | "Held by" | "Seen";

export interface Sort {
  column: Column;
  down: boolean;
}

/** As the rows come. */
export const WORST_FIRST: Sort = { column: "Status", down: false };

type Value = number | string | null | undefined;

const VALUES: Record<Exclude<Column, "Status">, (row: Row) => Value> = {
  Headset: ({ device }) => device.customName,
  Battery: ({ device }) => device.telemetry?.batteryLevel,
  "Time left": ({ device }) => minutesLeft(device),
  "Wi-Fi": ({ device }) => device.telemetry?.wifiSignalLevel,
  Hands: ({ device: { telemetry } }) => telemetry && Number(telemetry.leftHandTracked) + Number(telemetry.rightHandTracked),
  Confidence: ({ device }) => device.telemetry?.trackingConfidence,
  Heat: ({ device }) => hottestC(device),
  App: ({ device }) => device.telemetry?.appVersion,
  "Held by": ({ holder }) => holder || null,
  Seen: ({ condition }) => (condition.stale ? condition.ageMs : 0),
};

/** A press on a heading: its column upwards, then downwards. */
export function pressed(before: Sort, column: Column): Sort {
  return { column, down: before.column === column && !before.down };
}

/** `rows` come worst first and stay so among equals; what is not known comes last in both directions. */
export function sorted(rows: Row[], { column, down }: Sort): Row[] {
  if (column === "Status") return down ? [...rows].reverse() : rows;
  const value = VALUES[column];
  const known = (row: Row): boolean => {
    const found = value(row);
    return found !== null && found !== undefined && !Number.isNaN(found);
  };
  const compare = (a: Row, b: Row): number => {
    const [x, y] = [value(a), value(b)];
    if (typeof x === "number" && typeof y === "number") return x - y;
    return String(x).localeCompare(String(y), undefined, { numeric: true });
  };
  const ordered = rows.filter(known).sort((a, b) => (down ? compare(b, a) : compare(a, b)));
  return [...ordered, ...rows.filter((row) => !known(row))];
}
