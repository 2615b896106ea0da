import { describe, expect, it } from "vitest";

import { device, NOW } from "../live/test-device";
import { conditionOf } from "./condition";
import { pressed, sorted, WORST_FIRST, type Column } from "./sort";
import type { Row } from "./use-rows";

function row(name: string, telemetry: Parameters<typeof device>[0], holder = ""): Row {
  const each = device(telemetry, { deviceId: name, customName: name });
  return { device: each, condition: conditionOf(each, NOW), holder };
}

function order(rows: Row[], column: Column, down = false): string {
  return sorted(rows, { column, down }).map(({ device: { deviceId } }) => deviceId).join(" ");
}

const ROWS = [
  row("Q10", { batteryLevel: 0.5, wifiSignalLevel: -50 }, "Bench A"),
  row("Q2", { batteryLevel: 0.2, wifiSignalLevel: -70 }),
  row("Q1", { batteryLevel: 0.9 }),
];

describe("the table's order", () => {
  it("is the rows' own, worst first, until a heading is pressed", () => {
    expect(sorted(ROWS, WORST_FIRST)).toBe(ROWS);
    expect(order(ROWS, "Status", true)).toBe("Q1 Q2 Q10");
  });
  it("counts numbers in names and follows readings", () => {
    expect(order(ROWS, "Headset")).toBe("Q1 Q2 Q10");
    expect(order(ROWS, "Battery")).toBe("Q2 Q10 Q1");
    expect(order(ROWS, "Battery", true)).toBe("Q1 Q10 Q2");
  });
  it("has what is not known last in both directions", () => {
    expect(order(ROWS, "Wi-Fi")).toBe("Q2 Q10 Q1");
    expect(order(ROWS, "Wi-Fi", true)).toBe("Q10 Q2 Q1");
    expect(order(ROWS, "Held by")).toBe("Q10 Q2 Q1");
  });
  it("turns round with the second press", () => {
    const once = pressed(WORST_FIRST, "Heat");
    expect(once).toEqual({ column: "Heat", down: false });
    expect(pressed(once, "Heat")).toEqual({ column: "Heat", down: true });
    expect(pressed(pressed(once, "Heat"), "Heat")).toEqual(once);
  });
});
