/** Free storage in minutes of recording. */
import type { Device } from "../live/wire";

/** Two H.264 streams and hand data of a Quest, until a headset has shown what it really writes. */
const DEFAULT_BYTES_PER_MINUTE = 120_000_000;
const LEAST_SAMPLE_S = 20;

interface Sample {
  usedBytes: number;
  atMs: number;
}

const started = new Map<string, Sample>();
const learned = new Map<string, number>();

/** Learn how fast a headset fills its storage while it records. */
export function learnRate(before: Device, after: Device): void {
  const id = after.deviceId;
  const usedBytes = after.telemetry?.storageUsedBytes;
  const atMs = after.telemetry?.timestamp;
  if (!before.isRecording || !after.isRecording || usedBytes === undefined || atMs === undefined) {
    started.delete(id);
    return;
  }
  const first = started.get(id);
  if (first === undefined || usedBytes < first.usedBytes) {
    started.set(id, { usedBytes, atMs });
    return;
  }
  const seconds = (atMs - first.atMs) / 1000;
  const grown = usedBytes - first.usedBytes;
  if (seconds >= LEAST_SAMPLE_S && grown > 0) learned.set(id, (grown / seconds) * 60);
}

/** Minutes that still fit; null when the headset has not said how much space it has. */
export function minutesLeft(device: Device): number | null {
  const { storageTotalBytes: total, storageUsedBytes: used } = device.telemetry ?? {};
  if (total === undefined || used === undefined || total <= 0) return null;
  const rate = learned.get(device.deviceId) ?? DEFAULT_BYTES_PER_MINUTE;
  return Math.max(0, Math.floor((total - used) / rate));
}
