/** The fleet as rows, worst first, in an order that does not jump under a finger. */
import { useMemo, useRef } from "react";

import { useConnection } from "../live/connection";
import { useFleet } from "../live/fleet";
import { useNow } from "../live/now";
import { useTablets } from "../live/tablets";
import type { Device } from "../live/wire";
import { compareWorst, conditionOf, type Condition } from "./condition";

export interface Row {
  device: Device;
  condition: Condition;
  /** Name of the tablet that holds the lock; empty when nobody does. */
  holder: string;
}

// A headset that gets worse moves up at once; others wait for the next tidying.
export const TIDY_MS = 5000;

export function useRows(): Row[] {
  const { devices, skewMs } = useFleet();
  const bySocket = useTablets((state) => state.bySocket);
  const mine = useConnection((state) => state.socketId);
  const now = useNow();
  const order = useRef<{ ids: string[]; at: number; bad: string }>({ ids: [], at: 0, bad: "" });

  return useMemo(() => {
    const rows = new Map<string, Row>();
    for (const device of Object.values(devices)) {
      const holder = device.lockedByTabletId;
      const name = holder === mine ? "this tablet" : (bySocket[holder ?? ""] ?? "another tablet");
      const condition = conditionOf(device, now - skewMs);
      rows.set(device.deviceId, { device, condition, holder: holder === undefined ? "" : name });
    }
    order.current = tidy(order.current, rows, now);
    return order.current.ids.flatMap((id) => rows.get(id) ?? []);
  }, [devices, skewMs, bySocket, mine, now]);
}

function tidy(
  before: { ids: string[]; at: number; bad: string },
  rows: Map<string, Row>,
  now: number,
): { ids: string[]; at: number; bad: string } {
  const bad = [...rows.values()]
    .filter(({ condition }) => condition.level === "bad")
    .map(({ device }) => device.deviceId)
    .sort()
    .join(" ");
  const same = before.ids.length === rows.size && before.ids.every((id) => rows.has(id));
  if (same && bad === before.bad && now - before.at < TIDY_MS) return before;
  const ids = [...rows.values()]
    .sort((a, b) => compareWorst([a.device, a.condition], [b.device, b.condition]))
    .map(({ device }) => device.deviceId);
  return { ids, at: now, bad };
}
