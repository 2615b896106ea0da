import type { Device } from "./wire";

/** When the tests take place. */
export const NOW = Date.parse("2026-02-06T14:30:52.000Z");

/** A headset that is in order, seen at `NOW`; for tests. */
export function device(telemetry: Device["telemetry"] = {}, more: Partial<Device> = {}): Device {
  return {
    deviceId: "QUEST_0001",
    socketId: "s",
    isOnline: true,
    lastSeen: new Date(NOW).toISOString(),
    connectionTime: new Date(NOW).toISOString(),
    telemetry: { batteryLevel: 0.8, batteryState: 2, appVersion: "2.3.0", ...telemetry },
    isLocked: false,
    isRecording: false,
    customName: "Quest 0001",
    ...more,
  };
}
