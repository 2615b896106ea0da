/** The Socket.IO client, typed by the server's event catalogue. */
import type { ClientToServerEvents, DeviceState, DeviceTelemetry, ServerToClientEvents } from "@wire/events";
import type { Socket } from "socket.io-client";

/** What a viewer gets that joins with `auth.frames = "v2"`: many headsets can be told apart. */
export const FRAME_EVENT = "on-headset-frame";

interface FrameEvents {
  [FRAME_EVENT]: (deviceId: string, seq: number, sentAtMs: number, jpeg: ArrayBuffer) => void;
}

export type Wire = Socket<
  Omit<ServerToClientEvents, typeof FRAME_EVENT> & FrameEvents,
  ClientToServerEvents
>;

export type Device = Omit<DeviceState, "telemetry"> & { telemetry: DeviceTelemetry | null };
