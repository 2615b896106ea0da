/** The list that a reviewer works through; kept while they look at one recording of it. */
import { create } from "zustand";
import { createJSONStorage, persist } from "zustand/middleware";

import { call, type Schemas } from "../http";

export type Recording = Schemas["QASessionShown"];
export type Files = Schemas["QAFiles"];
export type Verdict = Recording["verdict"];
export type Decision = "accepted" | "rejected" | "open";
export type Sort = "-date" | "date" | "score" | "-score" | "-verdict";

export const VERDICTS: Verdict[] = ["FAIL", "WARN", "PASS"];
export const DECISIONS: Decision[] = ["open", "accepted", "rejected"];

interface Filter {
  /** None is all. */
  verdicts: Verdict[];
  decisions: Decision[];
  /** Recorded in the last days; 0 is ever. */
  days: number;
  sort: Sort;
}

interface ListState extends Filter {
  /** As they were last shown, to go from one to the next. */
  ids: string[];
}

export const useList = create<ListState>()(
  persist((): ListState => ({ verdicts: [], decisions: [], days: 0, sort: "-date", ids: [] }), {
    name: "quest.review",
    version: 1,
    storage: createJSONStorage(() => sessionStorage),
  }),
);

const PAGE = 50;
const DAY_MS = 24 * 3600 * 1000;

export function queryOf({ verdicts, decisions, days, sort }: Filter, cursor: string, now: number): string {
  const query = new URLSearchParams({ sort, limit: String(PAGE) });
  for (const verdict of verdicts) query.append("verdict", verdict);
  for (const decision of decisions) query.append("review", decision);
  if (days > 0) query.set("since", new Date(now - days * DAY_MS).toISOString());
  if (cursor !== "") query.set("cursor", cursor);
  return query.toString();
}

export async function loadPage(filter: Filter, cursor = ""): Promise<Schemas["QAPage"]> {
  return call<Schemas["QAPage"]>("GET", `/api/qa-metrics?${queryOf(filter, cursor, Date.now())}`);
}

/** What comes before and after a recording in the list; null at its ends. */
export function neighbours(ids: string[], id: string): { before: string | null; after: string | null } {
  const at = ids.indexOf(id);
  return at < 0 ? { before: null, after: null } : { before: ids[at - 1] ?? null, after: ids[at + 1] ?? null };
}

/** When it was recorded, by the name of its folder, ms; null for another name. */
export function recordedAt(sessionId: string): number | null {
  const parts = /^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)/.exec(sessionId);
  if (parts === null) return null;
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [
    number, number, number, number, number, number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** A reason without its level, which the verdict shows. */
export function sentence(reason: string): string {
  const text = reason.replace(/^(WARN|FAIL): /, "");
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
