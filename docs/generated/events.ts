// Generated from the event catalogue by `make gen`.

export type ErrorCode = "INVALID_DEVICE_ID" | "NOT_IDENTIFIED" | "INVALID_FRAME_DATA" | "INVALID_STATUS_DATA" | "INVALID_TELEMETRY" | "INVALID_INPUT" | "INVALID_METADATA" | "FORBIDDEN" | "DEVICE_ID_MISMATCH" | "DEVICE_OFFLINE" | "REPLACED" | "UNAVAILABLE" | "INTERNAL_ERROR";

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

/** `tablet-create-session`. */
export interface CreateSession {
  /** 1 or more; at most 50; each `^[a-zA-Z0-9_-]{1,64}$` */
  deviceIds: string[];
  /** participant, study, notes …; at most 100 KiB as JSON */
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

/** One device's part in a session. `uploadProgress` is percent. */
export interface DeviceSessionStatus {
  deviceId: string;
  isRecording: boolean;
  frameCount: number;
  uploadProgress: number;
  uploadStatus: "pending" | "uploading" | "completed" | "failed";
}

/** One device as dashboards and `/api/devices` see it. */
export interface DeviceState {
  deviceId: string;
  socketId: string;
  isOnline: boolean;
  /** ISO 8601 UTC with milliseconds and Z */
  lastSeen: string;
  /** ISO 8601 UTC with milliseconds and Z */
  connectionTime: string;
  /** the last DeviceTelemetry */
  telemetry: Record<string, unknown> | null;
  isLocked: boolean;
  isRecording: boolean;
  customName: string;
  lockedByTabletId?: string;
  /** ISO 8601 UTC with milliseconds and Z */
  lockedAt?: string;
}

/** What a headset says of itself. Every field may be left out; unknown ones are kept. */
export interface DeviceTelemetry {
  /** `^[a-zA-Z0-9_-]{1,64}$` */
  deviceId?: string | null;
  /** at most 256 characters */
  deviceName?: string;
  /** at most 256 characters */
  customName?: string | null;
  /** ≥ 0; ≤ 2^53; Unix milliseconds */
  timestamp?: number;
  /** ≥ 0; ≤ 1 */
  batteryLevel?: number;
  /** ≥ 0; ≤ 4; in steps of 1; 0 unknown, 1 charging, 2 discharging, 3 not charging, 4 full */
  batteryState?: number;
  /** ≥ 0; ≤ 2^53 */
  storageUsedBytes?: number;
  /** ≥ 0; ≤ 2^53 */
  storageTotalBytes?: number;
  /** ≥ -100; ≤ 0; dBm */
  wifiSignalLevel?: number;
  /** at most 256 characters */
  wifiSSID?: string;
  /** at most 256 characters */
  appVersion?: string;
  /** at most 256 characters */
  osVersion?: string;
  /** at most 256 characters */
  sdkVersion?: string;
  leftHandTracked?: boolean;
  rightHandTracked?: boolean;
  bodyTracked?: boolean;
  /** ≥ 0; ≤ 1 */
  trackingConfidence?: number;
  isRecording?: boolean;
  /** ≥ 0; ≤ 2^53; seconds */
  sessionDuration?: number;
  /** ≥ 0; ≤ 2^53; seconds */
  productiveTime?: number;
  /** ≥ 0; ≤ 2^53 */
  frameCount?: number;
  /** ≥ 0; ≤ 2^53 */
  droppedFrames?: number;
  /** °C */
  cpuTemperature?: number;
  /** °C */
  gpuTemperature?: number;
  /** ≥ 0; ≤ 2^53 */
  memoryUsedMB?: number;
  /** ≥ 0; ≤ 2^53 */
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

/** `reason`: `Device not online` or `Device locked by another tablet`. */
export interface LockFailed {
  deviceId: string;
  reason: string;
}

/** A recording was measured. `sessionId` is its folder, `overallQualityScore` 0..100. `captureSessionId` and `deviceId`: in which session and by which headset, where known. */
export interface QaCompleted {
  /** `^[a-zA-Z0-9_.-]{1,100}$` */
  sessionId: string;
  /** ≥ 0; ≤ 100 */
  overallQualityScore: number;
  verdict: "PASS" | "WARN" | "FAIL";
  /** `^[a-zA-Z0-9_.-]{1,100}$` */
  captureSessionId?: string;
  /** `^[a-zA-Z0-9_-]{1,64}$` */
  deviceId?: string;
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

/** `unavailable`: asked-for devices that are offline or another tablet's. */
export interface SessionCreated {
  sessionId: string;
  deviceIds: string[];
  unavailable?: string[];
}

/** Tablets get all three; headsets only `sessionId`. `duration` is whole seconds. */
export interface SessionEnded {
  sessionId: string;
  /** ISO 8601 UTC with milliseconds and Z */
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

/** `startedAt` is the first start, also after a pause. */
export interface SessionStarted {
  sessionId: string;
  /** ISO 8601 UTC with milliseconds and Z */
  startedAt: string;
}

/** A whole session. */
export interface SessionStatus {
  sessionId: string;
  status: "pending" | "recording" | "paused" | "completed" | "uploading";
  deviceIds: string[];
  /** ISO 8601 UTC with milliseconds and Z */
  createdAt: string;
  /** ISO 8601 UTC with milliseconds and Z */
  startedAt?: string;
  /** ISO 8601 UTC with milliseconds and Z */
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

/** A headset's part in a session, video and data together. `uploadProgress` is percent. */
export interface UploadProgress {
  sessionId: string;
  deviceId: string;
  uploadStatus: "pending" | "uploading" | "completed" | "failed";
  /** ≥ 0; ≤ 100 */
  uploadProgress: number;
}

export interface ClientToServerEvents {
  /** Register as this device. A newer connection of the same device takes over. */
  "headset-identify": (deviceId: string) => void;
  /** A frame of the preview: base64 text, or the JPEG in binary, a quarter smaller. */
  "headset-frame": (data: string | string) => void;
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
  /** Toggle recording on a device that this tablet, or nobody, holds. @deprecated use tablet-start-recording and tablet-stop-recording */
  "tablet-toggle-recording": (headsetId: string) => void;
  /** Toggle recording on every device this tablet holds. @deprecated use tablet-start-all-recording and tablet-stop-all-recording */
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
  /** Get about one picture a second of each of these headsets as `on-headset-frame`: of those that are visible, at most 100. Takes the place of the last such list; an empty one ends it. */
  "dashboard-watch": (deviceIds: string[]) => void;
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
  /** The same for viewers whose handshake says `auth.frames = "v2"`, instead of `on-headset-frame-updated`: which headset, a number that counts its frames, when the frame reached the server (Unix ms), the picture in binary. Also what `dashboard-watch` gives. */
  "on-headset-frame": (deviceId: string, seq: number, sentAtMs: number, jpeg: string) => void;
  /** A status of the headset. */
  "on-headset-status-updated": (data: string) => void;
  /** The headset has processed its logs. */
  "on-headset-logs-processed": () => void;
  /** Recording started. @deprecated use on-device-recording-changed */
  "on-headset-recording-active": () => void;
  /** Recording stopped. @deprecated use on-device-recording-changed */
  "on-headset-recording-inactive": () => void;
  /** Ids of the headsets that are online. @deprecated use on-headsets-with-lock-status-updated */
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
  /** Toggle recording. @deprecated use on-tablet-start-recording and on-tablet-stop-recording */
  "on-tablet-recording-toggled": () => void;
  /** Start recording; do nothing if it already is. Sent again, up to five times, while headset-recording-state does not say so. */
  "on-tablet-start-recording": () => void;
  /** Stop recording; do nothing if it already has. Sent again, up to five times, while headset-recording-state does not say so. */
  "on-tablet-stop-recording": () => void;
  /** A headset started or stopped recording. */
  "on-device-recording-changed": (change: RecordingChanged) => void;
  /** Another tablet holds the device, or it is offline. */
  "on-recording-denied": (device: DeviceRef) => void;
  /** Another tablet holds the device, or it is offline. @deprecated use on-recording-denied */
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
  /** How far a headset's uploads of the session are: on each change of a percent or the status. 100 and completed only when video and data are both there. */
  "on-upload-progress": (upload: UploadProgress) => void;
  /** A recording was measured, a moment after its upload or anew. `sessionId` is its folder in the bucket (`YYYYMMDD_HHMMSS`), as in `/api/qa-metrics/{sessionId}`. */
  "on-qa-completed": (quality: QaCompleted) => void;
  /** The whole fleet: on subscribing, and when a device has left it. */
  "on-fleet-status-updated": (devices: DeviceState[]) => void;
  /** One device changed. Replace it by deviceId: the first whole fleet and the updates since are always the fleet as it is now. */
  "on-device-telemetry-updated": (device: DeviceState) => void;
}

export const CLIENT_EVENTS = {
  HEADSET_IDENTIFY: "headset-identify",
  HEADSET_FRAME: "headset-frame",
  HEADSET_STATUS: "headset-status",
  DEVICE_TELEMETRY: "device-telemetry",
  HEADSET_LOGS_PROCESSED: "headset-logs-processed",
  HEADSET_RECORDING_STATE: "headset-recording-state",
  TABLET_LOCK_DEVICE: "tablet-lock-device",
  TABLET_UNLOCK_DEVICE: "tablet-unlock-device",
  TABLET_LOCK_DEVICES: "tablet-lock-devices",
  TABLET_UNLOCK_ALL_DEVICES: "tablet-unlock-all-devices",
  TABLET_START_RECORDING: "tablet-start-recording",
  TABLET_STOP_RECORDING: "tablet-stop-recording",
  TABLET_START_ALL_RECORDING: "tablet-start-all-recording",
  TABLET_STOP_ALL_RECORDING: "tablet-stop-all-recording",
  TABLET_TOGGLE_RECORDING: "tablet-toggle-recording",
  TABLET_TOGGLE_ALL_RECORDING: "tablet-toggle-all-recording",
  TABLET_CREATE_SESSION: "tablet-create-session",
  TABLET_START_SESSION: "tablet-start-session",
  TABLET_PAUSE_SESSION: "tablet-pause-session",
  TABLET_END_SESSION: "tablet-end-session",
  TABLET_GET_SESSION: "tablet-get-session",
  TABLET_GET_ACTIVE_SESSION: "tablet-get-active-session",
  TABLET_CONNECT_HEADSET: "tablet-connect-headset",
  TABLET_DISCONNECT_HEADSET: "tablet-disconnect-headset",
  TABLET_GET_RECORDING_STATUS: "tablet-get-recording-status",
  TABLET_SYNC_METADATA: "tablet-sync-metadata",
  DASHBOARD_SUBSCRIBE: "dashboard-subscribe",
  DASHBOARD_UNSUBSCRIBE: "dashboard-unsubscribe",
  DASHBOARD_WATCH: "dashboard-watch",
} as const;

export const SERVER_EVENTS = {
  ERROR: "error",
  ON_HEADSET_CONNECTED: "on-headset-connected",
  ON_HEADSET_DISCONNECTED: "on-headset-disconnected",
  ON_HEADSET_FRAME_UPDATED: "on-headset-frame-updated",
  ON_HEADSET_FRAME: "on-headset-frame",
  ON_HEADSET_STATUS_UPDATED: "on-headset-status-updated",
  ON_HEADSET_LOGS_PROCESSED: "on-headset-logs-processed",
  ON_HEADSET_RECORDING_ACTIVE: "on-headset-recording-active",
  ON_HEADSET_RECORDING_INACTIVE: "on-headset-recording-inactive",
  ON_HEADSETS_UPDATED: "on-headsets-updated",
  ON_HEADSETS_WITH_LOCK_STATUS_UPDATED: "on-headsets-with-lock-status-updated",
  ON_DEVICE_LOCKS_UPDATED: "on-device-locks-updated",
  ON_DEVICE_LOCKED: "on-device-locked",
  ON_DEVICE_LOCK_FAILED: "on-device-lock-failed",
  ON_DEVICE_UNLOCKED: "on-device-unlocked",
  ON_DEVICES_LOCKED: "on-devices-locked",
  ON_ALL_DEVICES_UNLOCKED: "on-all-devices-unlocked",
  ON_DEVICE_DISCONNECTED: "on-device-disconnected",
  ON_TABLET_RECORDING_TOGGLED: "on-tablet-recording-toggled",
  ON_TABLET_START_RECORDING: "on-tablet-start-recording",
  ON_TABLET_STOP_RECORDING: "on-tablet-stop-recording",
  ON_DEVICE_RECORDING_CHANGED: "on-device-recording-changed",
  ON_RECORDING_DENIED: "on-recording-denied",
  ON_RECORDING_TOGGLE_DENIED: "on-recording-toggle-denied",
  ON_RECORDING_ACTIVE: "on-recording-active",
  ON_RECORDING_INACTIVE: "on-recording-inactive",
  ON_TABLET_METADATA_SYNCED: "on-tablet-metadata-synced",
  ON_SESSION_CREATED: "on-session-created",
  ON_SESSION_STARTED: "on-session-started",
  ON_SESSION_PAUSED: "on-session-paused",
  ON_SESSION_ENDED: "on-session-ended",
  ON_SESSION_ERROR: "on-session-error",
  ON_SESSION_STATUS: "on-session-status",
  ON_ACTIVE_SESSION: "on-active-session",
  ON_UPLOAD_PROGRESS: "on-upload-progress",
  ON_QA_COMPLETED: "on-qa-completed",
  ON_FLEET_STATUS_UPDATED: "on-fleet-status-updated",
  ON_DEVICE_TELEMETRY_UPDATED: "on-device-telemetry-updated",
} as const;

/** At most `max` in any window of `windowMs`, per connection and event. */
export const RATE_LIMITS: Record<keyof ClientToServerEvents, { max: number; windowMs: number }> = {
  "headset-identify": { max: 3, windowMs: 5000 },
  "headset-frame": { max: 120, windowMs: 1000 },
  "headset-status": { max: 10, windowMs: 1000 },
  "device-telemetry": { max: 5, windowMs: 1000 },
  "headset-logs-processed": { max: 50, windowMs: 1000 },
  "headset-recording-state": { max: 5, windowMs: 1000 },
  "tablet-lock-device": { max: 10, windowMs: 2000 },
  "tablet-unlock-device": { max: 10, windowMs: 2000 },
  "tablet-lock-devices": { max: 5, windowMs: 5000 },
  "tablet-unlock-all-devices": { max: 2, windowMs: 5000 },
  "tablet-start-recording": { max: 5, windowMs: 1000 },
  "tablet-stop-recording": { max: 5, windowMs: 1000 },
  "tablet-start-all-recording": { max: 3, windowMs: 2000 },
  "tablet-stop-all-recording": { max: 3, windowMs: 2000 },
  "tablet-toggle-recording": { max: 5, windowMs: 1000 },
  "tablet-toggle-all-recording": { max: 5, windowMs: 1000 },
  "tablet-create-session": { max: 3, windowMs: 5000 },
  "tablet-start-session": { max: 5, windowMs: 2000 },
  "tablet-pause-session": { max: 5, windowMs: 2000 },
  "tablet-end-session": { max: 5, windowMs: 2000 },
  "tablet-get-session": { max: 10, windowMs: 1000 },
  "tablet-get-active-session": { max: 10, windowMs: 1000 },
  "tablet-connect-headset": { max: 10, windowMs: 2000 },
  "tablet-disconnect-headset": { max: 10, windowMs: 2000 },
  "tablet-get-recording-status": { max: 10, windowMs: 1000 },
  "tablet-sync-metadata": { max: 5, windowMs: 1000 },
  "dashboard-subscribe": { max: 5, windowMs: 5000 },
  "dashboard-unsubscribe": { max: 5, windowMs: 5000 },
  "dashboard-watch": { max: 20, windowMs: 5000 },
};

/** The same per client address, of groups of HTTP paths. */
export const HTTP_RATE_LIMITS: Record<string, { max: number; windowMs: number }> = {
  "api": { max: 100, windowMs: 60000 },
  "auth/device-token": { max: 20, windowMs: 60000 },
  "auth/generate-token": { max: 20, windowMs: 60000 },
  "auth/pair": { max: 10, windowMs: 60000 },
  "auth/refresh": { max: 60, windowMs: 60000 },
  "auth/verify-token": { max: 20, windowMs: 60000 },
  "health": { max: 60, windowMs: 60000 },
  "metrics": { max: 30, windowMs: 60000 },
  "test": { max: 60, windowMs: 60000 },
  "upload-session": { max: 10, windowMs: 900000 },
};
