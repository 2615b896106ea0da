// Generated from the event catalogue by `make gen`.

/** The tablet's newest session that is not completed. */
export interface ActiveSession {
  sessionId: string;
  status: "pending" | "recording" | "paused" | "completed" | "uploading";
  deviceIds: string[];
}

/** Result of releasing all. */
export interface AllUnlocked {
  unlocked: string[];
}

/** ``tablet-create-session``. */
export interface CreateSession {
  deviceIds: string[];
  metadata?: Record<string, unknown> | null;
}

/** Lock of one online headset. */
export interface DeviceLockStatus {
  deviceId: string;
  isLocked: boolean;
  lockedByTabletId?: string;
}

/** One device's part of a batch. */
export interface DeviceOutcome {
  success: boolean;
  error?: string;
}

/** Names one device. */
export interface DeviceRef {
  deviceId: string;
}

/** One device's part in a session. ``uploadProgress`` is percent. */
export interface DeviceSessionStatus {
  deviceId: string;
  isRecording: boolean;
  frameCount: number;
  uploadProgress: number;
  uploadStatus: "pending" | "uploading" | "completed" | "failed";
}

/** One device as dashboards and ``/api/devices`` see it. */
export interface DeviceState {
  deviceId: string;
  socketId: string;
  isOnline: boolean;
  lastSeen: string;
  connectionTime: string;
  telemetry: Record<string, unknown> | null;
  isLocked: boolean;
  isRecording: boolean;
  customName: string;
  lockedByTabletId?: string;
  lockedAt?: string;
}

/** What a headset says of itself. Every field may be left out; unknown ones are kept. */
export interface DeviceTelemetry {
  deviceId?: string | null;
  deviceName?: string;
  customName?: string | null;
  timestamp?: number;
  batteryLevel?: number;
  batteryState?: number;
  storageUsedBytes?: number;
  storageTotalBytes?: number;
  wifiSignalLevel?: number;
  wifiSSID?: string;
  appVersion?: string;
  osVersion?: string;
  sdkVersion?: string;
  leftHandTracked?: boolean;
  rightHandTracked?: boolean;
  bodyTracked?: boolean;
  trackingConfidence?: number;
  isRecording?: boolean;
  sessionDuration?: number;
  productiveTime?: number;
  frameCount?: number;
  droppedFrames?: number;
  cpuTemperature?: number;
  gpuTemperature?: number;
  memoryUsedMB?: number;
  memoryTotalMB?: number;
  [field: string]: unknown;
}

/** Result of a batch lock. */
export interface DevicesLocked {
  locked: string[];
  failed: string[];
  error?: string;
}

/** Why an event was refused. */
export interface ErrorReport {
  code: string;
  message: string;
}

/** An online headset in the list that goes to every client. */
export interface HeadsetListInfo {
  deviceId: string;
  isLocked: boolean;
  customName: string;
  lockedByTabletId?: string;
}

/** ``reason``: ``Device not online`` or ``Device locked by another tablet``. */
export interface LockFailed {
  deviceId: string;
  reason: string;
}

/** Ack of starting or stopping one device. */
export interface RecordingAck {
  success: boolean;
  deviceId: string;
  error?: string;
}

/** A headset started or stopped recording. */
export interface RecordingChanged {
  deviceId: string;
  isRecording: boolean;
}

/** ``unavailable``: asked-for devices that are offline or another tablet's. */
export interface SessionCreated {
  sessionId: string;
  deviceIds: string[];
  unavailable?: string[];
}

/** Tablets get all three; headsets only ``sessionId``. ``duration`` is whole seconds. */
export interface SessionEnded {
  sessionId: string;
  endedAt?: string;
  duration?: number;
}

/** Why a session request was refused. */
export interface SessionError {
  error: string;
  sessionId?: string;
  unavailable?: string[];
}

/** Names one session. */
export interface SessionRef {
  sessionId: string;
}

/** ``startedAt`` is the first start, also after a pause. */
export interface SessionStarted {
  sessionId: string;
  startedAt: string;
}

/** A whole session. */
export interface SessionStatus {
  sessionId: string;
  status: "pending" | "recording" | "paused" | "completed" | "uploading";
  deviceIds: string[];
  createdAt: string;
  startedAt?: string;
  endedAt?: string;
  metadata: Record<string, unknown>;
  deviceStatuses: DeviceSessionStatus[];
}

/** Ack of starting all. */
export interface StartAllAck {
  success: boolean;
  results: Record<string, DeviceOutcome>;
  startedCount: number;
  totalDevices: number;
}

/** Ack of stopping all. */
export interface StopAllAck {
  success: boolean;
  results: Record<string, DeviceOutcome>;
  stoppedCount: number;
  totalDevices: number;
}

export interface ClientToServerEvents {
  /** Register as this device. A newer connection of the same device takes over. */
  "headset-identify": (deviceId: string) => void;
  /** A frame of the preview. */
  "headset-frame": (data: string) => void;
  /** A status, passed on to the tablets that watch. */
  "headset-status": (data: string) => void;
  /** Telemetry: an object, its JSON text, or the JSON text of that text. */
  "device-telemetry": (telemetry: DeviceTelemetry | string) => void;
  /** The headset has processed its logs. */
  "headset-logs-processed": () => void;
  /** Recording started or stopped. */
  "headset-recording-state": (recording: boolean) => void;
  /** Ask for the exclusive lock of a device. Again for one already held is success. */
  "tablet-lock-device": (deviceId: string) => void;
  /** Release a lock. Nothing happens to one that is another tablet's. */
  "tablet-unlock-device": (deviceId: string) => void;
  /** Lock up to 50 devices in one decision: of two tablets, never both get the same one. */
  "tablet-lock-devices": (deviceIds: string[]) => void;
  /** Release every lock this tablet holds. */
  "tablet-unlock-all-devices": () => void;
  /** Start recording on a device that this tablet, or nobody, holds. */
  "tablet-start-recording": (deviceId: string, ack?: (reply: RecordingAck) => void) => void;
  /** Stop recording on a device that this tablet, or nobody, holds. */
  "tablet-stop-recording": (deviceId: string, ack?: (reply: RecordingAck) => void) => void;
  /** Start recording on every device this tablet holds. */
  "tablet-start-all-recording": (ack?: (reply: StartAllAck) => void) => void;
  /** Stop recording on every device this tablet holds. */
  "tablet-stop-all-recording": (ack?: (reply: StopAllAck) => void) => void;
  /** Toggle recording on a device that this tablet, or nobody, holds. */
  "tablet-toggle-recording": (headsetId: string) => void;
  /** Toggle recording on every device this tablet holds. */
  "tablet-toggle-all-recording": () => void;
  /** Create a session of up to 50 devices. The free ones are locked for it. */
  "tablet-create-session": (request: CreateSession) => void;
  /** Start or resume recording on every device of the session. */
  "tablet-start-session": (sessionId: string) => void;
  /** Stop recording on every device, to be resumed. */
  "tablet-pause-session": (sessionId: string) => void;
  /** Stop recording and end the session. */
  "tablet-end-session": (sessionId: string) => void;
  /** Ask for a session. */
  "tablet-get-session": (sessionId: string) => void;
  /** Ask for this tablet's newest session that is not completed. */
  "tablet-get-active-session": () => void;
  /** Watch one headset without a lock. */
  "tablet-connect-headset": (headsetId: string) => void;
  /** Stop watching a headset. */
  "tablet-disconnect-headset": (headsetId: string) => void;
  /** Ask whether a headset records. */
  "tablet-get-recording-status": (headsetId: string) => void;
  /** Send metadata to one device, or to the watched one and all that this tablet holds. */
  "tablet-sync-metadata": (data: string, targetDeviceId?: string) => void;
  /** Get the whole fleet, then every change. */
  "dashboard-subscribe": () => void;
  /** No further changes. */
  "dashboard-unsubscribe": () => void;
}

export interface ServerToClientEvents {
  /** An event was refused; nothing changed. */
  "error": (error: ErrorReport) => void;
  /** The headset is connected and identified. */
  "on-headset-connected": () => void;
  /** The headset went offline, or was not there to connect to. */
  "on-headset-disconnected": () => void;
  /** A frame of the preview: the newest, at most one per 33 ms and headset. */
  "on-headset-frame-updated": (data: string) => void;
  /** A status of the headset. */
  "on-headset-status-updated": (data: string) => void;
  /** The headset has processed its logs. */
  "on-headset-logs-processed": () => void;
  /** Recording started. */
  "on-headset-recording-active": () => void;
  /** Recording stopped. */
  "on-headset-recording-inactive": () => void;
  /** Ids of the headsets that are online. */
  "on-headsets-updated": (deviceIds: string[]) => void;
  /** The headsets that are online, with their locks and names. */
  "on-headsets-with-lock-status-updated": (headsets: HeadsetListInfo[]) => void;
  /** The locks of the headsets that are online or locked. */
  "on-device-locks-updated": (locks: DeviceLockStatus[]) => void;
  /** The lock is yours. */
  "on-device-locked": (lock: DeviceRef) => void;
  /** The lock is not yours. */
  "on-device-lock-failed": (failure: LockFailed) => void;
  /** The lock was released. */
  "on-device-unlocked": (lock: DeviceRef) => void;
  /** Result of a batch lock. */
  "on-devices-locked": (result: DevicesLocked) => void;
  /** All locks of this tablet were released. */
  "on-all-devices-unlocked": (result: AllUnlocked) => void;
  /** A locked device went offline for good, and its lock is free. */
  "on-device-disconnected": (device: DeviceRef) => void;
  /** Toggle recording. */
  "on-tablet-recording-toggled": () => void;
  /** Start recording; do nothing if it already is. */
  "on-tablet-start-recording": () => void;
  /** Stop recording; do nothing if it already has. */
  "on-tablet-stop-recording": () => void;
  /** A headset started or stopped recording. */
  "on-device-recording-changed": (change: RecordingChanged) => void;
  /** Another tablet holds the device, or it is offline. */
  "on-recording-denied": (device: DeviceRef) => void;
  /** Another tablet holds the device, or it is offline. */
  "on-recording-toggle-denied": (device: DeviceRef) => void;
  /** The headset records. */
  "on-recording-active": () => void;
  /** The headset does not record. */
  "on-recording-inactive": () => void;
  /** Metadata from a tablet. */
  "on-tablet-metadata-synced": (data: string) => void;
  /** The session exists. */
  "on-session-created": (session: SessionCreated) => void;
  /** The session records. */
  "on-session-started": (session: SessionStarted) => void;
  /** The session pauses. */
  "on-session-paused": (session: SessionRef) => void;
  /** The session is over. */
  "on-session-ended": (session: SessionEnded) => void;
  /** A session request was refused. */
  "on-session-error": (failure: SessionError) => void;
  /** A whole session. */
  "on-session-status": (session: SessionStatus) => void;
  /** The tablet's newest session that is not completed, or null. */
  "on-active-session": (session: ActiveSession | null) => void;
  /** The whole fleet: on subscribing, and when a device has left it. */
  "on-fleet-status-updated": (devices: DeviceState[]) => void;
  /** One device changed. Replace it by deviceId: the first whole fleet and the updates since are always the fleet as it is now. */
  "on-device-telemetry-updated": (device: DeviceState) => void;
}
