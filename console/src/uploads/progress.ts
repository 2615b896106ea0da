/** What an upload's numbers mean to who waits for it. */
import type { Schemas } from "../http";

export type UploadSession = Schemas["UploadSession"];
export type UploadDevice = Schemas["UploadDevice"];
export type UploadFile = Schemas["UploadFile"];

/** `waiting`: nothing came yet. `uploaded`: every byte is there, but nobody has looked at them. */
export type Stage = "waiting" | "uploading" | "uploaded" | "verified" | "failed";

export const STAGE_WORDS: Record<Stage, string> = {
  waiting: "Waiting",
  uploading: "Uploading",
  uploaded: "Uploaded, not verified yet",
  verified: "Verified",
  failed: "Failed",
};

export function stageOf(file: UploadFile): Stage {
  if (file.verified) return "verified";
  if (file.state === "failed" || file.state === "aborted") return "failed";
  return file.uploaded ? "uploaded" : "uploading";
}

/** The least far of a headset's files, for that is what one waits for; a failed one first. */
export function stageOfDevice(device: UploadDevice): Stage {
  const stages = device.files.map(stageOf);
  if (stages.includes("failed")) return "failed";
  if (stages.includes("uploading")) return "uploading";
  if (stages.length === 0 || missingRecordings(device) > 0 || hasLoneFile(device)) return "waiting";
  return stages.includes("uploaded") ? "uploaded" : "verified";
}

/** Recordings of which nothing has come, as far as the headset has told. */
export function missingRecordings({ recordings, files }: UploadDevice): number {
  return Math.max(0, recordings - recordingsOf(files).length);
}

export function recordingsOf(files: UploadFile[]): string[] {
  return [...new Set(files.map(({ recording }) => recording))];
}

function hasLoneFile({ files }: UploadDevice): boolean {
  return recordingsOf(files).some((name) => files.filter(({ recording }) => recording === name).length < 2);
}

/** By bytes, whole percent; 100 only when all of them are there. */
export function percentOf(files: { stored: number; size: number }[]): number {
  const stored = files.reduce((sum, file) => sum + Math.min(file.stored, file.size), 0);
  const size = files.reduce((sum, file) => sum + file.size, 0);
  return size === 0 ? 0 : Math.floor((100 * stored) / size);
}

export function retriesOf(files: UploadFile[]): number {
  return files.reduce((sum, { retries }) => sum + retries, 0);
}

/** Something may still change by itself soon. */
export function isMoving({ devices, endedAt }: UploadSession, now: number): boolean {
  if (endedAt === null) return true;
  if (devices.some((device) => ["uploading", "uploaded"].includes(stageOfDevice(device)))) return true;
  return devices.some(({ safeToDelete }) => !safeToDelete) && now - Date.parse(endedAt) < RECENT_MS;
}

const RECENT_MS = 10 * 60_000;
