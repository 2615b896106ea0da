/** The fleet as the server last told it: the snapshot, then every change. */
import { create } from "zustand";

import type { Device, Wire } from "./wire";
import { learnRate } from "../fleet/storage";
import { call } from "../http";
import { watchNames } from "./tablets";

interface FleetState {
  devices: Record<string, Device>;
  /** Whether the snapshot has come since the last connection. */
  loaded: boolean;
  /** This browser's clock minus the server's, ms. */
  skewMs: number;
}

export const useFleet = create<FleetState>(() => ({ devices: {}, loaded: false, skewMs: 0 }));

// Two hundred headsets report several times a second; the page is drawn a few times.
const FLUSH_MS = 250;

let waiting = new Map<string, Device>();
let timer: ReturnType<typeof setTimeout> | undefined;

function flush(): void {
  timer = undefined;
  const devices = { ...useFleet.getState().devices };
  for (const [id, device] of waiting) {
    const old = devices[id];
    if (old !== undefined) learnRate(old, device);
    devices[id] = device;
  }
  waiting = new Map();
  useFleet.setState({ devices });
  watchNames(devices);
}

function take(device: Device): void {
  waiting.set(device.deviceId, device);
  timer ??= setTimeout(flush, FLUSH_MS);
}

async function readSkew(): Promise<void> {
  const { time } = await call<{ time: string }>("GET", "/test");
  useFleet.setState({ skewMs: Date.now() - Date.parse(time) });
}

export function attachFleet(wire: Wire): void {
  wire.on("connect", () => {
    wire.emit("dashboard-subscribe");
    readSkew().catch(() => undefined); // the last one known still holds
  });
  wire.on("disconnect", () => {
    clearTimeout(timer);
    timer = undefined;
    waiting = new Map();
  });
  wire.on("on-fleet-status-updated", (rows) => {
    waiting = new Map();
    const devices = Object.fromEntries(rows.map((row) => [row.deviceId, row as Device]));
    useFleet.setState({ devices, loaded: true });
    watchNames(devices);
  });
  wire.on("on-device-telemetry-updated", (row) => take(row as Device));
}
