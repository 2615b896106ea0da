import { expect, it, vi } from "vitest";

// Where it runs, there is no browser.
vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined });
vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => undefined });
const { neighbours, queryOf, recordedAt, sentence } = await import("./list");

it("asks only for what is chosen", () => {
  const now = Date.parse("2026-02-06T12:00:00Z");
  expect(queryOf({ verdicts: [], decisions: [], days: 0, sort: "-date" }, "", now)).toBe("sort=-date&limit=50");
  const query = new URLSearchParams(
    queryOf({ verdicts: ["FAIL", "WARN"], decisions: ["open"], days: 7, sort: "score" }, "c", now),
  );
  expect(query.getAll("verdict")).toEqual(["FAIL", "WARN"]);
  expect(query.getAll("review")).toEqual(["open"]);
  expect(query.get("since")).toBe("2026-01-30T12:00:00.000Z");
  expect(query.get("cursor")).toBe("c");
});

it("knows what comes before and after", () => {
  expect(neighbours(["a", "b", "c"], "b")).toEqual({ before: "a", after: "c" });
  expect(neighbours(["a", "b"], "b")).toEqual({ before: "a", after: null });
  expect(neighbours(["a"], "x")).toEqual({ before: null, after: null });
});

it("reads the time of a recording from its name", () => {
  expect(recordedAt("20260206_143052")).toBe(Date.parse("2026-02-06T14:30:52Z"));
  expect(recordedAt("demo")).toBeNull();
});

it("leaves out of a reason what its verdict says", () => {
  expect(sentence("WARN: the overall score is 75 points")).toBe("The overall score is 75 points");
  expect(sentence("the video is missing")).toBe("The video is missing");
});
