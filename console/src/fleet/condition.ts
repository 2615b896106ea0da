/** One word for how a headset is, and what is wrong with it, worst first. */
import type { Device } from "../live/wire";
import { minutesLeft } from "./storage";

export type Level = "bad" | "warn" | "rec" | "ok" | "off";

export interface Problem {
  level: "bad" | "warn";
  /** For the status chip. */
  word: string;
  /** For people: what it is, with its number. */
  text: string;
}

export interface Condition {
  level: Level;
  word: string;
  problems: Problem[];
  /** What the headset says is older than this page shows as live. */
  stale: boolean;
  /** Since the headset was last heard, ms. */
  ageMs: number;
}

/** Telemetry comes about once a second. */
export const STALE_MS = 10_000;
export const LOW_BATTERY = 0.25;
export const EMPTY_BATTERY = 0.1;
const SHORT_STORAGE_MIN = 30;
const FULL_STORAGE_MIN = 10;
const WEAK_WIFI_DBM = -75;
const LOST_WIFI_DBM = -85;
const WARM_C = 60;
const HOT_C = 70;
const LOW_CONFIDENCE = 0.6;

const ORDER: Record<Level, number> = { bad: 0, warn: 1, rec: 2, ok: 3, off: 4 };

export function isCharging(device: Device): boolean {
  const state = device.telemetry?.batteryState;
  return state === 1 || state === 4;
}

/** `nowMs` is Unix ms on the server's clock. */
export function conditionOf(device: Device, nowMs: number): Condition {
  const ageMs = Math.max(0, nowMs - Date.parse(device.lastSeen));
  if (!device.isOnline) {
    if (device.isLocked || device.telemetry?.isRecording === true) {
      const problem: Problem = { level: "bad", word: "Lost", text: "Went offline while in use" };
      return { level: "bad", word: "Lost", problems: [problem], stale: true, ageMs };
    }
    return { level: "off", word: "Offline", problems: [], stale: true, ageMs };
  }
  const stale = device.telemetry === null || ageMs > STALE_MS;
  const problems = stale ? [silent(ageMs)] : problemsOf(device);
  const worst = problems[0];
  if (worst !== undefined) return { level: worst.level, word: worst.word, problems, stale, ageMs };
  if (device.isRecording) return { level: "rec", word: "Recording", problems, stale, ageMs };
  const word = device.isLocked ? "In use" : isCharging(device) ? "Charging" : "Ready";
  return { level: "ok", word, problems, stale, ageMs };
}

function silent(ageMs: number): Problem {
  return { level: "warn", word: "Silent", text: `Connected, but silent for ${Math.round(ageMs / 1000)} s` };
}

function problemsOf(device: Device): Problem[] {
  const found = [battery(device), storage(device), heat(device), wifi(device), hands(device)];
  return found
    .filter((problem) => problem !== null)
    .sort((a, b) => ORDER[a.level] - ORDER[b.level]);
}

function battery(device: Device): Problem | null {
  const level = device.telemetry?.batteryLevel;
  if (level === undefined || level >= LOW_BATTERY) return null;
  const percent = Math.round(level * 100);
  if (isCharging(device)) {
    return level < EMPTY_BATTERY
      ? { level: "warn", word: "Low battery", text: `Battery ${percent} %, charging` }
      : null;
  }
  return { level: level < EMPTY_BATTERY ? "bad" : "warn", word: "Low battery", text: `Battery ${percent} %` };
}

function storage(device: Device): Problem | null {
  const minutes = minutesLeft(device);
  if (minutes === null || minutes >= SHORT_STORAGE_MIN) return null;
  const level = minutes < FULL_STORAGE_MIN ? "bad" : "warn";
  return { level, word: "Storage full", text: `Space for ${minutes} min of recording` };
}

function heat(device: Device): Problem | null {
  const hottest = hottestC(device);
  if (hottest === null || hottest < WARM_C) return null;
  return { level: hottest < HOT_C ? "warn" : "bad", word: "Hot", text: `${Math.round(hottest)} °C` };
}

function wifi(device: Device): Problem | null {
  const dbm = device.telemetry?.wifiSignalLevel;
  if (dbm === undefined || dbm > WEAK_WIFI_DBM) return null;
  return { level: dbm > LOST_WIFI_DBM ? "warn" : "bad", word: "Weak Wi-Fi", text: `Wi-Fi ${dbm} dBm` };
}

function hands(device: Device): Problem | null {
  const { leftHandTracked, rightHandTracked, trackingConfidence } = device.telemetry ?? {};
  if (!device.isRecording) return null;
  const missing = missingHands(leftHandTracked, rightHandTracked);
  if (missing !== null) return { level: "warn", word: "Tracking", text: `${missing} not tracked` };
  if (trackingConfidence === undefined || trackingConfidence >= LOW_CONFIDENCE) return null;
  return {
    level: "warn",
    word: "Tracking",
    text: `Tracking confidence ${Math.round(trackingConfidence * 100)} %`,
  };
}

/** Which hands are said not to be tracked, in words; null when none. */
export function missingHands(left: boolean | undefined, right: boolean | undefined): string | null {
  if (left === false && right === false) return "Both hands";
  if (left === false) return "Left hand";
  return right === false ? "Right hand" : null;
}

/** The hotter of CPU and GPU in °C; null when neither is known. */
export function hottestC(device: Device): number | null {
  const known = [device.telemetry?.cpuTemperature, device.telemetry?.gpuTemperature].filter(
    (value) => value !== undefined,
  );
  return known.length > 0 ? Math.max(...known) : null;
}

/** Worst first; among equals by name. */
export function compareWorst(a: [Device, Condition], b: [Device, Condition]): number {
  return (
    ORDER[a[1].level] - ORDER[b[1].level] ||
    b[1].problems.length - a[1].problems.length ||
    a[0].customName.localeCompare(b[0].customName, undefined, { numeric: true }) ||
    a[0].deviceId.localeCompare(b[0].deviceId)
  );
}
