/** While a take is recorded: is this headset's part of it all right? */
import { missingHands } from "../fleet/condition";
import type { Device } from "../live/wire";

export type Light = "good" | "check" | "bad";

export interface Integrity {
  light: Light;
  word: string;
}

/** What the headset had counted when the take began. */
export interface Baseline {
  frameCount: number;
  droppedFrames: number;
}

const SILENT_MS = 5000;
const CHECK_DROPPED = 0.01;
const BAD_DROPPED = 0.05;
/** A headset takes a moment from the command to its first frame. */
export const START_MS = 4000;

/** `sinceMs`: how long ago recording (or the pause) was commanded; `ageMs`: of its telemetry. */
export function integrityOf(
  device: Device | undefined,
  wanted: "recording" | "paused",
  sinceMs: number,
  ageMs: number,
  baseline: Baseline | undefined,
): Integrity {
  if (device === undefined || !device.isOnline) return { light: "bad", word: "Connection lost" };
  if (device.isRecording !== (wanted === "recording")) {
    if (sinceMs < START_MS) return { light: "check", word: wanted === "recording" ? "Starting" : "Pausing" };
    return { light: "bad", word: wanted === "recording" ? "Not recording" : "Still recording" };
  }
  if (ageMs > SILENT_MS) return { light: "check", word: "Silent" };
  if (wanted === "paused") return { light: "good", word: "Paused" };
  const dropped = droppedShare(device, baseline);
  if (dropped > BAD_DROPPED) return { light: "bad", word: "Dropping frames" };
  const missing = missingHands(device.telemetry?.leftHandTracked, device.telemetry?.rightHandTracked);
  if (missing !== null) return { light: "check", word: `${missing} lost` };
  if (dropped > CHECK_DROPPED) return { light: "check", word: "Dropping frames" };
  return { light: "good", word: "Recording" };
}

/** Dropped of all frames since the take began, 0..1. */
export function droppedShare(device: Device, baseline: Baseline | undefined): number {
  const { frameCount = 0, droppedFrames = 0 } = device.telemetry ?? {};
  // A headset that counts from zero for each take starts below the baseline.
  const since = (value: number, start: number | undefined): number =>
    start === undefined || value < start ? value : value - start;
  const dropped = since(droppedFrames, baseline?.droppedFrames);
  const all = since(frameCount, baseline?.frameCount) + dropped;
  return all > 0 ? dropped / all : 0;
}
