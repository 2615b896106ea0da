import { describe, expect, it } from "vitest";

import { conditionOf } from "../fleet/condition";
import { device, NOW } from "../live/test-device";
import { droppedShare, integrityOf, START_MS } from "./integrity";
import { commonVersion, preflight } from "./preflight";

describe("preflight", () => {
  it.each([
    [device(), "", "ok", null],
    [device(), "this tablet", "ok", null],
    [device(), "Lab 2", "fail", "In use by Lab 2"],
    [device({}, { isOnline: false }), "", "fail", "Offline"],
    [device({}, { isRecording: true }), "", "fail", "Already recording"],
    [device({ batteryLevel: 0.05 }), "", "fail", "Battery 5 %"],
    [device({ batteryLevel: 0.2 }), "", "warn", "Battery 20 %"],
    [device({ storageUsedBytes: 99.9e9, storageTotalBytes: 100e9 }), "", "fail", "Space for 0 min"],
    [device({ wifiSignalLevel: -90 }), "", "warn", "Wi-Fi -90 dBm"],
    [device({ rightHandTracked: false }), "", "warn", "Right hand not tracked"],
    [device({ appVersion: "2.2.0" }), "", "warn", "App 2.2.0, the others have 2.3.0"],
  ])("%# gives its verdict and reason", (given, holder, verdict, reason) => {
    const check = preflight(given, conditionOf(given, NOW), holder, "2.3.0");
    expect(check.verdict).toBe(verdict);
    if (reason === null) expect(check.reasons).toEqual([]);
    else expect(check.reasons[0]).toContain(reason);
  });

  it("does not trust old telemetry", () => {
    const check = preflight(device(), conditionOf(device(), NOW + 60_000), "", null);
    expect(check).toEqual({ verdict: "fail", reasons: ["Silent: no telemetry from it"] });
  });

  it("knows the version that most have", () => {
    const fleet = ["2.3.0", "2.2.0", "2.3.0"].map((appVersion) => device({ appVersion }));
    expect(commonVersion([...fleet, undefined])).toBe("2.3.0");
    expect(commonVersion([])).toBeNull();
  });
});

describe("integrityOf", () => {
  const recording = device({}, { isRecording: true });

  it.each([
    [undefined, "bad", "Connection lost"],
    [device({}, { isOnline: false, isRecording: true }), "bad", "Connection lost"],
    [device(), "bad", "Not recording"],
    [recording, "good", "Recording"],
    [device({ leftHandTracked: false }, { isRecording: true }), "check", "Left hand lost"],
    [device({ frameCount: 90, droppedFrames: 10 }, { isRecording: true }), "bad", "Dropping frames"],
    [device({ frameCount: 970, droppedFrames: 30 }, { isRecording: true }), "check", "Dropping frames"],
  ])("%# while it should record", (given, light, word) => {
    expect(integrityOf(given, "recording", START_MS, 0, undefined)).toEqual({ light, word });
  });

  it("gives a headset a moment to start and to pause", () => {
    expect(integrityOf(device(), "recording", START_MS - 1, 0, undefined).word).toBe("Starting");
    expect(integrityOf(recording, "paused", START_MS - 1, 0, undefined).word).toBe("Pausing");
    expect(integrityOf(recording, "paused", START_MS, 0, undefined).word).toBe("Still recording");
  });

  it("counts what was dropped in this take only", () => {
    const worn = device({ frameCount: 2000, droppedFrames: 500 }, { isRecording: true });
    expect(droppedShare(worn, { frameCount: 1000, droppedFrames: 500 })).toBe(0);
    // A headset that starts counting anew.
    expect(droppedShare(worn, { frameCount: 9000, droppedFrames: 900 })).toBe(0.2);
  });
});
