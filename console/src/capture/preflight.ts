/** Whether a headset may record, and why not. */
import { hottestC, missingHands, type Condition } from "../fleet/condition";
import type { Device } from "../live/wire";

export interface Check {
  verdict: "ok" | "warn" | "fail";
  reasons: string[];
}

/** `holder` is who has it, '' for nobody; `usualVersion` is the app version of most of the chosen. */
export function preflight(
  device: Device | undefined,
  condition: Condition | undefined,
  holder: string,
  usualVersion: string | null,
): Check {
  if (device === undefined || condition === undefined) return fail("Not in the fleet any more");
  if (!device.isOnline) return fail("Offline: switch it on and start the app");
  if (holder !== "" && holder !== "this tablet") return fail(`In use by ${holder}`);
  if (condition.stale) return fail("Silent: no telemetry from it");
  if (device.isRecording) return fail("Already recording");
  // Recording goes to the headset's own storage, so weak Wi-Fi only spoils the preview.
  const [bad, rest] = split(condition);
  const failures = bad.filter(({ word }) => word !== "Weak Wi-Fi").map(({ text }) => text);
  const warnings = [
    ...bad.filter(({ word }) => word === "Weak Wi-Fi").map(({ text }) => text),
    ...rest.map(({ text }) => text),
    ...handsAndVersion(device, usualVersion),
  ];
  if (failures.length > 0) return { verdict: "fail", reasons: [...failures, ...warnings] };
  return { verdict: warnings.length > 0 ? "warn" : "ok", reasons: warnings };
}

function fail(reason: string): Check {
  return { verdict: "fail", reasons: [reason] };
}

function split(condition: Condition): [Condition["problems"], Condition["problems"]] {
  return [
    condition.problems.filter(({ level }) => level === "bad"),
    condition.problems.filter(({ level }) => level === "warn"),
  ];
}

function handsAndVersion(device: Device, usualVersion: string | null): string[] {
  const { leftHandTracked, rightHandTracked, appVersion } = device.telemetry ?? {};
  const missing = missingHands(leftHandTracked, rightHandTracked);
  return [
    ...(missing === null ? [] : [`${missing} not tracked: hold both in view`]),
    ...(usualVersion !== null && appVersion !== undefined && appVersion !== usualVersion
      ? [`App ${appVersion}, the others have ${usualVersion}`]
      : []),
  ];
}

/** The version that most have; null when none is known. */
export function commonVersion(devices: (Device | undefined)[]): string | null {
  const counts = new Map<string, number>();
  for (const device of devices) {
    const version = device?.telemetry?.appVersion;
    if (version !== undefined) counts.set(version, (counts.get(version) ?? 0) + 1);
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || b[0].localeCompare(a[0]));
  return most?.[0] ?? null;
}

/** A short line of what is well, for a headset with nothing to complain of. */
export function allWell(device: Device): string {
  const battery = device.telemetry?.batteryLevel;
  const heat = hottestC(device);
  const parts = [
    battery === undefined ? null : `Battery ${Math.round(battery * 100)} %`,
    heat === null ? null : `${Math.round(heat)} °C`,
    "both hands tracked",
  ];
  return parts.filter((part) => part !== null).join(", ");
}
