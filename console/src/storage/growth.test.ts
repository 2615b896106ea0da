import { expect, it } from "vitest";

import { dollars, gigabytes, growth, lastDays } from "./growth";

it("shows days on which nothing came, too", () => {
  const day = { date: "2026-02-05", files: 2, sizeGB: 3, mp4Count: 1, npzCount: 1, zipCount: 0 };
  const days = lastDays([{ ...day, date: "2025-01-01" }, day], 3, Date.parse("2026-02-06T14:30:52Z"));
  expect(days.map(({ date }) => date)).toEqual(["2026-02-04", "2026-02-05", "2026-02-06"]);
  expect(days.map(({ sizeGB }) => sizeGB)).toEqual([0, 3, 0]);
  expect(growth(days)).toBe(1);
  expect(growth([])).toBe(0);
});

it("writes sizes and sums so that they can be read", () => {
  expect([2048, 1.5, 0.5, 1e-6, 0].map(gigabytes)).toEqual(["2.00 TB", "1.50 GB", "512.0 MB", "1 kB", "0 MB"]);
  expect([0, 0.00042, 0.5, 12345.678].map(dollars)).toEqual(["$0", "under $0.01", "$0.50", "$12,345.68"]);
});
