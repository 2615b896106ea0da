/** The newest preview frame of each watched headset. */
import { useConnection } from "./connection";
import { useFleet } from "./fleet";
import { FRAME_EVENT, type Wire } from "./wire";

export interface Frame {
  jpeg: Blob;
  /** When the server sent it, Unix ms on this browser's clock. */
  sentAt: number;
}

type Listener = (frame: Frame) => void;

const newest = new Map<string, Frame>();
const listeners = new Map<string, Set<Listener>>();
/** The headset that is watched without a lock. */
let paired: string | null = null;

function give(deviceId: string, frame: Frame): void {
  newest.set(deviceId, frame);
  for (const listener of listeners.get(deviceId) ?? []) listener(frame);
}

/** Frames of `deviceId` from now on, and the last one that came. */
export function onFrame(deviceId: string, listener: Listener): () => void {
  const all = listeners.get(deviceId) ?? new Set();
  listeners.set(deviceId, all.add(listener));
  const last = newest.get(deviceId);
  if (last !== undefined) listener(last);
  return () => {
    all.delete(listener);
    if (all.size === 0) listeners.delete(deviceId);
  };
}

/** Watch one headset without locking it, until the returned function is called. */
export function watch(deviceId: string): () => void {
  const { wire } = useConnection.getState();
  if (wire === null) return () => undefined;
  paired = deviceId;
  const ask = (): void => {
    wire.emit("tablet-connect-headset", deviceId);
  };
  if (wire.connected) ask();
  wire.on("connect", ask);
  return () => {
    wire.off("connect", ask);
    if (paired === deviceId) paired = null;
    if (wire.connected) wire.emit("tablet-disconnect-headset", deviceId);
  };
}

/** Headsets whose tiles are on the screen; the server sends a picture a second of them. */
const visible = new Map<string, number>();
const TELL_MS = 150;
const MOST = 100;
let telling: ReturnType<typeof setTimeout> | undefined;

function tellVisible(): void {
  telling = undefined;
  const { wire } = useConnection.getState();
  // A page in a tab behind others is seen by nobody.
  const shown = document.hidden ? [] : [...visible.keys()].slice(0, MOST);
  if (wire?.connected) wire.emit("dashboard-watch", shown);
}

/** A tile came onto the screen; the returned function says that it left. */
export function show(deviceId: string): () => void {
  visible.set(deviceId, (visible.get(deviceId) ?? 0) + 1);
  telling ??= setTimeout(tellVisible, TELL_MS);
  return () => {
    const left = (visible.get(deviceId) ?? 1) - 1;
    if (left > 0) visible.set(deviceId, left);
    else visible.delete(deviceId);
    telling ??= setTimeout(tellVisible, TELL_MS);
  };
}

/** Whose frame an event without a device id is: known only while a single headset is watched. */
function onlyWatched(): string | null {
  const { socketId } = useConnection.getState();
  const held = Object.values(useFleet.getState().devices)
    .filter((device) => socketId !== "" && device.lockedByTabletId === socketId)
    .map((device) => device.deviceId);
  const watched = new Set(paired === null ? held : [...held, paired]);
  const [first] = watched;
  return watched.size === 1 && first !== undefined ? first : null;
}

function decode(base64: string): Blob {
  const text = atob(base64);
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: "image/jpeg" });
}

export function attachFrames(wire: Wire): void {
  document.addEventListener("visibilitychange", tellVisible);
  wire.on("connect", () => {
    if (visible.size > 0) tellVisible();
  });
  wire.on(FRAME_EVENT, (deviceId, _seq, sentAtMs, jpeg) => {
    const sentAt = sentAtMs + useFleet.getState().skewMs;
    give(deviceId, { jpeg: new Blob([jpeg], { type: "image/jpeg" }), sentAt });
  });
  wire.on("on-headset-frame-updated", (data) => {
    const deviceId = onlyWatched();
    if (deviceId !== null) give(deviceId, { jpeg: decode(data), sentAt: Date.now() });
  });
}
