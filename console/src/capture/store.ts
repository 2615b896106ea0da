/** The capture of this tablet: what is chosen, and the session as the server tells it. */
import type { SessionStatus } from "@wire/events";
import { create } from "zustand";
import { persist } from "zustand/middleware";

import { useAuth } from "../auth/credentials";
import { useConnection } from "../live/connection";
import { useFleet } from "../live/fleet";
import type { Wire } from "../live/wire";
import { textOf } from "../ui/take";
import type { Baseline } from "./integrity";

export type Step = "choose" | "details" | "check";

export interface Details {
  participant: string;
  study: string;
  task: string;
  notes: string;
}

export interface Preset {
  name: string;
  study: string;
  task: string;
  notes: string;
}

export interface Session {
  sessionId: string;
  status: "pending" | "recording" | "paused";
  deviceIds: string[];
  details: Details & { take: number };
}

/** Recorded time without pauses; the server knows only the first start. */
interface Timing {
  sessionId: string;
  recordedMs: number;
  /** Unix ms; null while it pauses. */
  runningSince: number | null;
  /** When recording or the pause was last commanded, Unix ms. */
  changedAt: number;
}

export interface Finished {
  sessionId: string;
  deviceIds: string[];
  recordedMs: number;
  details: Session["details"];
  discarded: boolean;
  /** Device id of who recorded it. */
  by: string;
}

interface CaptureState {
  step: Step;
  chosen: string[];
  details: Details;
  presets: Preset[];
  /** Last take by participant, study and task. */
  takes: Record<string, number>;
  timing: Timing | null;
  session: Session | null;
  finished: Finished | null;
  /** Asked for, but somebody else's by now: wait for a decision before the start. */
  unavailable: string[];
  /** Headsets that go on without being mentioned. */
  leftOut: string[];
  baselines: Record<string, Baseline>;
  problem: string | null;
  /** A request is under way. */
  busy: boolean;
}

/** The server's limit for one session. */
export const MOST_HEADSETS = 50;

const NO_DETAILS: Details = { participant: "", study: "", task: "", notes: "" };

export const useCapture = create<CaptureState>()(
  persist(
    (): CaptureState => ({
      step: "choose",
      chosen: [],
      details: NO_DETAILS,
      presets: [],
      takes: {},
      timing: null,
      session: null,
      finished: null,
      unavailable: [],
      leftOut: [],
      baselines: {},
      problem: null,
      busy: false,
    }),
    {
      name: "quest.capture",
      version: 1,
      partialize: ({ step, chosen, details, presets, takes, timing, finished, leftOut, baselines }) => ({
        step, chosen, details, presets, takes, timing, finished, leftOut, baselines,
      }),
    },
  ),
);

const set = useCapture.setState;
const get = useCapture.getState;

const ANSWER_MS = 6000;
let overdue: ReturnType<typeof setTimeout> | undefined;

function emit(send: (wire: Wire) => void): void {
  const { wire } = useConnection.getState();
  if (wire === null || !wire.connected) {
    set({ problem: "No connection to the server. Try again when it is back." });
    return;
  }
  set({ problem: null });
  send(wire);
}

/** As `emit`, and the buttons wait for an answer. */
function request(send: (wire: Wire) => void): void {
  if (get().busy) return;
  emit((wire) => {
    set({ busy: true });
    clearTimeout(overdue);
    overdue = setTimeout(() => {
      set({ busy: false, problem: "The server did not answer. Try again." });
    }, ANSWER_MS);
    send(wire);
  });
}

function answered(): void {
  clearTimeout(overdue);
  set({ busy: false });
}

export function takeKey({ participant, study, task }: Details): string {
  return JSON.stringify([study.trim(), participant.trim(), task.trim()]);
}

export function nextTake(): number {
  const { details, takes } = get();
  return (takes[takeKey(details)] ?? 0) + 1;
}

/** Take the chosen headsets, so that nobody else does, and their previews come. */
export function lockChosen(): void {
  const { chosen } = get();
  if (chosen.length > 0) emit((wire) => wire.emit("tablet-lock-devices", chosen));
}

export function releaseAll(): void {
  emit((wire) => wire.emit("tablet-unlock-all-devices"));
}

export function createSession(deviceIds: string[]): void {
  const { details } = get();
  const metadata = { ...details, take: nextTake() };
  set({ leftOut: [], unavailable: [], baselines: {} });
  request((wire) => wire.emit("tablet-create-session", { deviceIds, metadata }));
}

export function startSession(): void {
  const { session } = get();
  if (session === null) return;
  set({ unavailable: [] });
  request((wire) => {
    const text = JSON.stringify({ ...session.details, sessionId: session.sessionId });
    if (session.status === "pending") wire.emit("tablet-sync-metadata", text);
    wire.emit("tablet-start-session", session.sessionId);
  });
}

export function pauseSession(): void {
  const { session } = get();
  if (session !== null) request((wire) => wire.emit("tablet-pause-session", session.sessionId));
}

export function endSession(): void {
  const { session } = get();
  if (session !== null) request((wire) => wire.emit("tablet-end-session", session.sessionId));
}

/** Bring one headset into step with the session. */
export function retry(deviceId: string, wanted: "recording" | "paused"): void {
  emit((wire) => {
    const done = ({ success, error }: { success: boolean; error?: string }): void => {
      if (!success) set({ problem: error ?? "The headset was not reached." });
    };
    if (wanted === "recording") wire.emit("tablet-start-recording", deviceId, done);
    else wire.emit("tablet-stop-recording", deviceId, done);
  });
}

/** Back to the check with the same headsets, or to the start with none. */
export function afterTake(next: "again" | "done"): void {
  const { finished } = get();
  if (next === "again") {
    set({ finished: null, step: "check", chosen: finished?.deviceIds ?? get().chosen });
    lockChosen();
    return;
  }
  set({ finished: null, step: "choose", chosen: [] });
  releaseAll();
}

/** A discarded take does not count: the next one has its number. */
export function takeWasDiscarded(): void {
  const { finished, takes } = get();
  if (finished === null) return;
  set({
    takes: { ...takes, [takeKey(finished.details)]: finished.details.take - 1 },
    finished: { ...finished, discarded: true },
  });
}

/** Recorded so far, without pauses, ms. */
export function recordedMs(timing: Timing | null, now: number): number {
  if (timing === null) return 0;
  return timing.recordedMs + (timing.runningSince === null ? 0 : Math.max(0, now - timing.runningSince));
}

function timingFor(sessionId: string): Timing | null {
  const { timing } = get();
  return timing?.sessionId === sessionId ? timing : null;
}

function detailsOf(metadata: Record<string, unknown>): Session["details"] {
  const text = (name: string): string => textOf(metadata, name);
  const take = metadata["take"];
  return {
    participant: text("participant"),
    study: text("study"),
    task: text("task"),
    notes: text("notes"),
    take: typeof take === "number" ? take : 1,
  };
}

function isOpen(status: SessionStatus["status"]): status is Session["status"] {
  return status === "pending" || status === "recording" || status === "paused";
}

function told(status: SessionStatus): void {
  if (!isOpen(status.status)) return;
  const { sessionId, deviceIds, startedAt } = status;
  let timing = timingFor(sessionId);
  if (timing === null && startedAt !== undefined) {
    // Another browser of this tablet started it: pauses before now are not known here.
    const started = Date.parse(startedAt) + useFleet.getState().skewMs;
    const running = status.status === "recording";
    timing = {
      sessionId,
      recordedMs: running ? 0 : Date.now() - started,
      runningSince: running ? started : null,
      changedAt: started,
    };
  }
  const details = detailsOf(status.metadata);
  set({ session: { sessionId, deviceIds, status: status.status, details }, timing, finished: null });
}

function started(sessionId: string): void {
  const { session, takes } = get();
  answered();
  if (session?.sessionId !== sessionId) return;
  const before = timingFor(sessionId);
  const now = Date.now();
  set({
    session: { ...session, status: "recording" },
    timing: {
      sessionId,
      recordedMs: before?.recordedMs ?? 0,
      runningSince: before?.runningSince ?? now,
      changedAt: now,
    },
    takes: { ...takes, [takeKey(session.details)]: session.details.take },
  });
  noteBaselines();
}

function paused(sessionId: string): void {
  const { session } = get();
  answered();
  if (session?.sessionId !== sessionId) return;
  const now = Date.now();
  const recorded = recordedMs(timingFor(sessionId), now);
  set({
    session: { ...session, status: "paused" },
    timing: { sessionId, recordedMs: recorded, runningSince: null, changedAt: now },
  });
}

function ended(sessionId: string): void {
  const { session } = get();
  answered();
  if (session?.sessionId !== sessionId) return;
  const recorded = recordedMs(timingFor(sessionId), Date.now());
  const { deviceIds, details, status } = session;
  set({
    session: null,
    timing: null,
    // One that never recorded has nothing to keep.
    finished:
      status === "pending"
        ? null
        : { sessionId, deviceIds, details, recordedMs: recorded, discarded: false, by: whoIsHere() },
  });
}

function noteBaselines(): void {
  const { session, baselines } = get();
  if (session?.status !== "recording") return;
  const { devices } = useFleet.getState();
  const news = session.deviceIds.flatMap((id) => {
    const telemetry = devices[id]?.telemetry;
    if (id in baselines || telemetry == null) return [];
    const { frameCount = 0, droppedFrames = 0 } = telemetry;
    return [[id, { frameCount, droppedFrames }] as const];
  });
  if (news.length > 0) set({ baselines: { ...baselines, ...Object.fromEntries(news) } });
}

function whoIsHere(): string {
  return useAuth.getState().credentials?.deviceId ?? "";
}

export function attachCapture(wire: Wire): void {
  const { finished } = get();
  // A reload leaves the take to be looked at and discarded; another tablet's is nobody's here.
  const mine = finished?.by === whoIsHere() ? finished : null;
  set({ session: null, finished: mine, busy: false, problem: null, unavailable: [] });
  wire.on("connect", () => {
    answered();
    wire.emit("tablet-get-active-session");
  });
  wire.on("on-active-session", (active) => {
    if (active !== null) {
      wire.emit("tablet-get-session", active.sessionId);
      return;
    }
    // Locks that ended while this tablet was away; those that it still has are success again.
    if (get().step === "check" && get().finished === null) lockChosen();
    const lost = get().timing !== null;
    set({
      session: null,
      timing: null,
      ...(lost && { problem: "This tablet was away too long, so the server ended the take. It is kept." }),
    });
  });
  wire.on("on-session-status", told);
  wire.on("on-session-created", ({ sessionId, deviceIds, unavailable = [] }) => {
    answered();
    const details = { ...get().details, take: nextTake() };
    set({ session: { sessionId, deviceIds, status: "pending", details }, unavailable, finished: null });
    if (unavailable.length === 0) startSession();
  });
  wire.on("on-session-started", ({ sessionId }) => started(sessionId));
  wire.on("on-session-paused", ({ sessionId }) => paused(sessionId));
  wire.on("on-session-ended", ({ sessionId }) => ended(sessionId));
  wire.on("on-session-error", ({ error, unavailable }) => {
    answered();
    set({ problem: unavailable ? `${error}: ${unavailable.join(", ")}` : error });
  });
}

useFleet.subscribe(noteBaselines);
