/** Names of the tablets that hold locks: on the wire a lock carries only a socket id. */
import { create } from "zustand";

import { call, type Schemas } from "../http";
import { useConnection } from "./connection";
import type { Device } from "./wire";

export type Tablet = Schemas["Tablet"];

interface TabletState {
  tablets: Tablet[];
  bySocket: Record<string, string>;
}

export const useTablets = create<TabletState>(() => ({ tablets: [], bySocket: {} }));

/** What people call who holds something: managers' browsers have made-up ids. */
export function personOf(identity: string, name: string): string {
  return identity.startsWith("console_") ? "a manager" : name || identity;
}

const LEAST_PAUSE_MS = 2000;
/** Some never get a name: sockets without a token. */
const ASK_AGAIN_MS = 60_000;
const asked = new Map<string, number>();
let askedAt = 0;
let again: ReturnType<typeof setTimeout> | undefined;

export async function loadTablets(): Promise<void> {
  const answer = await call<Schemas["TabletList"]>("GET", "/api/tablets");
  const tablets = answer.tablets.map((row) => ({ ...row, name: personOf(row.tabletId, row.name) }));
  const pairs = tablets.flatMap((row) => (row.socketId ? [[row.socketId, row.name] as const] : []));
  useTablets.setState({ tablets, bySocket: Object.fromEntries(pairs) });
}

/** Ask for names when a lock is held by a socket that nobody has introduced. */
export function watchNames(devices: Record<string, Device>): void {
  const { bySocket } = useTablets.getState();
  const now = Date.now();
  const holders = new Set(Object.values(devices).flatMap((device) => device.lockedByTabletId ?? []));
  const unknown = [...holders].filter(
    (id) => !(id in bySocket) && now - (asked.get(id) ?? 0) > ASK_AGAIN_MS,
  );
  if (unknown.length === 0 || again !== undefined) return;
  const wait = Math.max(0, askedAt + LEAST_PAUSE_MS - now);
  again = setTimeout(() => {
    again = undefined;
    askedAt = Date.now();
    loadTablets().then(
      () => {
        for (const id of asked.keys()) if (!holders.has(id)) asked.delete(id);
        for (const id of unknown) asked.set(id, askedAt);
      },
      () => undefined, // asked again with the next change of the fleet
    );
  }, wait);
}

/** Who holds the lock of `device`, in words; null when nobody does. */
export function useHolder(device: Device): { name: string; mine: boolean } | null {
  const socketId = useConnection((state) => state.socketId);
  const name = useTablets((state) => state.bySocket[device.lockedByTabletId ?? ""]);
  if (device.lockedByTabletId === undefined) return null;
  if (device.lockedByTabletId === socketId) return { name: "this tablet", mine: true };
  return { name: name ?? "another tablet", mine: false };
}
