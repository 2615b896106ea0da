import { useRef } from "react";

import { useNow } from "../live/now";
import { sorted, type Sort } from "./sort";
import { TIDY_MS, type Row } from "./use-rows";

/** As `sorted`, but readings that change do not move rows under a finger: they do every few seconds. */
export function useSorted(rows: Row[], sort: Sort): Row[] {
  const now = useNow();
  const kept = useRef<{ ids: string[]; by: Sort; at: number }>({ ids: [], by: sort, at: 0 });
  const byId = new Map(rows.map((row) => [row.device.deviceId, row]));
  const { ids, by, at } = kept.current;
  const same = ids.length === byId.size && ids.every((id) => byId.has(id));
  if (sort.column === "Status") return sorted(rows, sort);
  if (!same || by.column !== sort.column || by.down !== sort.down || now - at > TIDY_MS) {
    kept.current = { ids: sorted(rows, sort).map(({ device }) => device.deviceId), by: sort, at: now };
  }
  return kept.current.ids.flatMap((id) => byId.get(id) ?? []);
}
