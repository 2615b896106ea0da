import { describe, expect, it } from "vitest";

import {
  bandPath,
  flagsAt,
  following,
  linePath,
  nextFlag,
  pan,
  previousFlag,
  rateOf,
  whole,
  zoom,
  type Interval,
} from "./lanes-math";

const FRAMES = 1000;

describe("the view", () => {
  it("zooms around a frame, which stays in its place", () => {
    const view = zoom(whole(FRAMES), 4, 500, FRAMES);
    expect(view).toEqual({ from: 375, to: 625 });
    expect(zoom(view, 0.25, 500, FRAMES)).toEqual({ from: 0, to: 1000 });
  });

  it("never leaves the recording", () => {
    expect(zoom({ from: 0, to: 100 }, 0.5, 10, FRAMES)).toEqual({ from: 0, to: 200 });
    expect(pan({ from: 0, to: 100 }, -50, FRAMES)).toEqual({ from: 0, to: 100 });
    expect(pan({ from: 900, to: 1000 }, 500, FRAMES)).toEqual({ from: 900, to: 1000 });
    expect(zoom(whole(FRAMES), 0.1, 3, FRAMES)).toEqual(whole(FRAMES));
  });

  it("shows 30 frames at least, or all of a shorter recording", () => {
    const close = zoom(whole(FRAMES), 1e6, 500, FRAMES);
    expect(close.to - close.from).toBeCloseTo(30);
    expect(zoom(whole(8), 100, 4, 8)).toEqual(whole(8));
    expect(whole(0)).toEqual({ from: 0, to: 1 });
  });

  it("turns the page only when the cursor leaves it", () => {
    const view = { from: 100, to: 200 };
    expect(following(view, 150, FRAMES)).toBe(view);
    expect(following(view, 201, FRAMES)).toEqual({ from: 191, to: 291 });
    expect(following(view, 5, FRAMES)).toEqual({ from: 0, to: 100 });
  });
});

describe("flags", () => {
  const intervals: Interval[] = [
    { start: 300, end: 310, flag: "trackingErrors" },
    { start: 100, end: 120, flag: "bothHandsNotInFrame" },
    { start: 110, end: 130, flag: "handSpeedExceeded" },
  ];

  it("are walked in order of their beginnings", () => {
    expect(nextFlag(intervals, 0)?.start).toBe(100);
    expect(nextFlag(intervals, 100)?.start).toBe(110);
    expect(nextFlag(intervals, 300)).toBeNull();
    expect(previousFlag(intervals, 300)?.start).toBe(110);
    expect(previousFlag(intervals, 100)).toBeNull();
  });

  it("are found at a frame, the end not in it", () => {
    expect(flagsAt(intervals, 115)).toEqual(["Both hands missing", "Too fast"]);
    expect(flagsAt(intervals, 120)).toEqual(["Too fast"]);
    expect(flagsAt(intervals, 310)).toEqual([]);
  });
});

describe("paths", () => {
  it("have confidence 1 at the top", () => {
    expect(linePath([0, 5], [1, 0.25])).toBe("M0 0L5 0.75");
    expect(bandPath([0, 5], [1, 1], [0.5, 0.25])).toBe("M0 0L5 0L5 0.75L0 0.5Z");
    expect(bandPath([], [], [])).toBe("");
  });
});

it("takes the rate from the data, else from the length of the video", () => {
  expect(rateOf(59.9, 600, 20)).toBe(59.9);
  expect(rateOf(null, 600, 20)).toBe(30);
  expect(rateOf(null, 0, null)).toBe(60);
});
