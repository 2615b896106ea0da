import { describe, expect, it } from "vitest";

import { device, NOW } from "../live/test-device";
import type { Device } from "../live/wire";
import { compareWorst, conditionOf, STALE_MS } from "./condition";

describe("conditionOf", () => {
  it.each([
    [device(), "Ready", "ok"],
    [device({ batteryState: 1 }), "Charging", "ok"],
    [device({}, { isLocked: true }), "In use", "ok"],
    [device({}, { isRecording: true }), "Recording", "rec"],
    [device({ batteryLevel: 0.24 }), "Low battery", "warn"],
    [device({ batteryLevel: 0.09 }), "Low battery", "bad"],
    [device({ batteryLevel: 0.24, batteryState: 1 }), "Charging", "ok"],
    [device({ storageUsedBytes: 127.5e9, storageTotalBytes: 128e9 }), "Storage full", "bad"],
    [device({ cpuTemperature: 40, gpuTemperature: 71 }), "Hot", "bad"],
    [device({ wifiSignalLevel: -80 }), "Weak Wi-Fi", "warn"],
    [device({ leftHandTracked: false }, { isRecording: true }), "Tracking", "warn"],
    [device({ leftHandTracked: false }), "Ready", "ok"],
    [device({}, { isOnline: false }), "Offline", "off"],
    [device({}, { isOnline: false, isLocked: true }), "Lost", "bad"],
  ])("%# is %s", (given, word, level) => {
    expect(conditionOf(given, NOW)).toMatchObject({ word, level });
  });

  it("never shows an old value as live", () => {
    const before = conditionOf(device(), NOW + STALE_MS);
    const after = conditionOf(device(), NOW + STALE_MS + 1);
    expect([before.stale, before.word]).toEqual([false, "Ready"]);
    expect([after.stale, after.word]).toEqual([true, "Silent"]);
  });

  it("puts the worst first, then by name as people count", () => {
    const fleet = [
      device({}, { customName: "Quest 10" }),
      device({}, { customName: "Quest 9" }),
      device({ batteryLevel: 0.2 }, { customName: "Quest 11" }),
      device({ batteryLevel: 0.05 }, { customName: "Quest 12" }),
      device({}, { customName: "Quest 1", isOnline: false }),
    ];
    const sorted = fleet
      .map((each) => [each, conditionOf(each, NOW)] as [Device, ReturnType<typeof conditionOf>])
      .sort(compareWorst)
      .map(([each]) => each.customName);
    expect(sorted).toEqual(["Quest 12", "Quest 11", "Quest 9", "Quest 10", "Quest 1"]);
  });
});
