/** Search and filters of the fleet page. */
import type { Device } from "../live/wire";
import { LOW_BATTERY, type Condition } from "./condition";

export type Flag = "problem" | "online" | "recording" | "low-battery" | "locked";

export interface Filter {
  text: string;
  flags: Flag[];
  version: string | null;
}

export const FLAGS: { value: Flag; label: string }[] = [
  { value: "problem", label: "Problems" },
  { value: "online", label: "Online" },
  { value: "recording", label: "Recording" },
  { value: "low-battery", label: "Low battery" },
  { value: "locked", label: "In use" },
];

const TESTS: Record<Flag, (device: Device, condition: Condition) => boolean> = {
  problem: (_, condition) => condition.level === "bad" || condition.level === "warn",
  online: (device) => device.isOnline,
  recording: (device) => device.isRecording,
  "low-battery": (device) => device.isOnline && (device.telemetry?.batteryLevel ?? 1) < LOW_BATTERY,
  locked: (device) => device.isLocked,
};

export function has(flag: Flag, device: Device, condition: Condition): boolean {
  return TESTS[flag](device, condition);
}

/** Every word of the text is found, every flag holds. */
export function matches(filter: Filter, device: Device, condition: Condition, holder: string): boolean {
  if (filter.version !== null && device.telemetry?.appVersion !== filter.version) return false;
  if (!filter.flags.every((flag) => has(flag, device, condition))) return false;
  const hay = `${device.customName} ${device.deviceId} ${condition.word} ${holder}`.toLowerCase();
  return filter.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => hay.includes(word));
}
