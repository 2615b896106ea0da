"""Every event of the wire, once.

Handlers, validation, roles, rate limits, metric labels, ``docs/events.md``, AsyncAPI, JSON Schemas
and TypeScript types come from here. Names and payloads: schema, "Socket.IO Events"; what the schema
leaves open: the wire contract in ``docs/events.md``.
"""

from quest_backend.protocol import payloads as p
from quest_backend.protocol.errors import ErrorCode
from quest_backend.protocol.events import Arg, DeviceType, Inbound, Outbound
from quest_backend.protocol.limits import Rate

_DEVICE = Arg("deviceId", p.DeviceId)
_HEADSET_ID = Arg("headsetId", p.DeviceId)
_SESSION = Arg("sessionId", p.SessionId)
_ROOM = "the device's room: its headset and the tablets that locked or connected it"
_ROOM_NOT_SENDER = "the device's room, not the headset that sent it"
_TABLET = "the tablet that asked"
_HEADSET = "the headset"
_ALL = "every client, joined into a few a second"
_DASHBOARDS = "subscribed dashboards"

# --- server to client -------------------------------------------------------------------------

ERROR = Outbound("error", "An event was refused; nothing changed.", (Arg("error", p.ErrorReport),),
                 to="the client that sent it")  # fmt: skip

ON_HEADSET_CONNECTED = Outbound(
    "on-headset-connected", "The headset is connected and identified.", to=_ROOM
)
ON_HEADSET_DISCONNECTED = Outbound(
    "on-headset-disconnected",
    "The headset went offline, or was not there to connect to.",
    to=_ROOM,
)
ON_HEADSET_FRAME_UPDATED = Outbound(
    "on-headset-frame-updated",
    "A frame of the preview: the newest, at most one per 33 ms and headset.",
    (Arg("data", p.FrameData),),
    to=_ROOM_NOT_SENDER,
)
ON_HEADSET_FRAME = Outbound(
    "on-headset-frame",
    'The same for viewers whose handshake says `auth.frames = "v2"`, instead of '
    "`on-headset-frame-updated`: which headset, a number that counts its frames, when the frame "
    "reached the server (Unix ms), the picture in binary. Also what `dashboard-watch` gives.",
    (
        _DEVICE,
        Arg("seq", int),
        Arg("sentAtMs", int),
        Arg("jpeg", p.JpegBytes),
    ),
    to=_ROOM_NOT_SENDER,
)
ON_HEADSET_STATUS_UPDATED = Outbound(
    "on-headset-status-updated",
    "A status of the headset.",
    (Arg("data", p.StatusData),),
    to=_ROOM_NOT_SENDER,
)
ON_HEADSET_LOGS_PROCESSED = Outbound(
    "on-headset-logs-processed", "The headset has processed its logs.", to=_ROOM
)
ON_HEADSET_RECORDING_ACTIVE = Outbound(
    "on-headset-recording-active",
    "Recording started.",
    to=_ROOM,
    deprecated="on-device-recording-changed",
)
ON_HEADSET_RECORDING_INACTIVE = Outbound(
    "on-headset-recording-inactive",
    "Recording stopped.",
    to=_ROOM,
    deprecated="on-device-recording-changed",
)

ON_HEADSETS_UPDATED = Outbound(
    "on-headsets-updated",
    "Ids of the headsets that are online.",
    (Arg("deviceIds", list[str]),),
    to=_ALL,
    deprecated="on-headsets-with-lock-status-updated",
)
ON_HEADSETS_WITH_LOCK_STATUS_UPDATED = Outbound(
    "on-headsets-with-lock-status-updated",
    "The headsets that are online, with their locks and names.",
    (Arg("headsets", list[p.HeadsetListInfo]),),
    to=_ALL,
)
ON_DEVICE_LOCKS_UPDATED = Outbound(
    "on-device-locks-updated",
    "The locks of the headsets that are online or locked.",
    (Arg("locks", list[p.DeviceLockStatus]),),
    to=_ALL,
)

ON_DEVICE_LOCKED = Outbound(
    "on-device-locked", "The lock is yours.", (Arg("lock", p.DeviceRef),), to=_TABLET
)
ON_DEVICE_LOCK_FAILED = Outbound(
    "on-device-lock-failed", "The lock is not yours.", (Arg("failure", p.LockFailed),), to=_TABLET
)
ON_DEVICE_UNLOCKED = Outbound(
    "on-device-unlocked", "The lock was released.", (Arg("lock", p.DeviceRef),), to=_TABLET
)
ON_DEVICES_LOCKED = Outbound(
    "on-devices-locked", "Result of a batch lock.", (Arg("result", p.DevicesLocked),), to=_TABLET
)
ON_ALL_DEVICES_UNLOCKED = Outbound(
    "on-all-devices-unlocked",
    "All locks of this tablet were released.",
    (Arg("result", p.AllUnlocked),),
    to=_TABLET,
)
ON_DEVICE_DISCONNECTED = Outbound(
    "on-device-disconnected",
    "A locked device went offline for good, and its lock is free.",
    (Arg("device", p.DeviceRef),),
    to="the tablet that held the lock",
)

ON_TABLET_RECORDING_TOGGLED = Outbound(
    "on-tablet-recording-toggled",
    "Toggle recording.",
    to=_HEADSET,
    deprecated="on-tablet-start-recording and on-tablet-stop-recording",
)
ON_TABLET_START_RECORDING = Outbound(
    "on-tablet-start-recording",
    "Start recording; do nothing if it already is. Sent again, up to five times, while "
    "headset-recording-state does not say so.",
    to=_HEADSET,
)
ON_TABLET_STOP_RECORDING = Outbound(
    "on-tablet-stop-recording",
    "Stop recording; do nothing if it already has. Sent again, up to five times, while "
    "headset-recording-state does not say so.",
    to=_HEADSET,
)
ON_DEVICE_RECORDING_CHANGED = Outbound(
    "on-device-recording-changed",
    "A headset started or stopped recording.",
    (Arg("change", p.RecordingChanged),),
    to=_ROOM,
)
ON_RECORDING_DENIED = Outbound(
    "on-recording-denied",
    "Another tablet holds the device, or it is offline.",
    (Arg("device", p.DeviceRef),),
    to=_TABLET,
)
ON_RECORDING_TOGGLE_DENIED = Outbound(
    "on-recording-toggle-denied",
    "Another tablet holds the device, or it is offline.",
    (Arg("device", p.DeviceRef),),
    to=_TABLET,
    deprecated="on-recording-denied",
)
ON_RECORDING_ACTIVE = Outbound("on-recording-active", "The headset records.", to=_TABLET)
ON_RECORDING_INACTIVE = Outbound(
    "on-recording-inactive", "The headset does not record.", to=_TABLET
)
ON_TABLET_METADATA_SYNCED = Outbound(
    "on-tablet-metadata-synced",
    "Metadata from a tablet.",
    (Arg("data", p.MetadataText),),
    to=_HEADSET,
)

ON_SESSION_CREATED = Outbound(
    "on-session-created", "The session exists.", (Arg("session", p.SessionCreated),), to=_TABLET
)
ON_SESSION_STARTED = Outbound(
    "on-session-started",
    "The session records.",
    (Arg("session", p.SessionStarted),),
    to=_TABLET,
)
ON_SESSION_PAUSED = Outbound(
    "on-session-paused", "The session pauses.", (Arg("session", p.SessionRef),), to=_TABLET
)
ON_SESSION_ENDED = Outbound(
    "on-session-ended",
    "The session is over.",
    (Arg("session", p.SessionEnded),),
    to="the session's tablet and headsets",
)
ON_SESSION_ERROR = Outbound(
    "on-session-error",
    "A session request was refused.",
    (Arg("failure", p.SessionError),),
    to=_TABLET,
)
ON_SESSION_STATUS = Outbound(
    "on-session-status", "A whole session.", (Arg("session", p.SessionStatus),), to=_TABLET
)
ON_ACTIVE_SESSION = Outbound(
    "on-active-session",
    "The tablet's newest session that is not completed, or null.",
    (Arg("session", p.ActiveSession | None),),
    to=_TABLET,
)
ON_UPLOAD_PROGRESS = Outbound(
    "on-upload-progress",
    "How far a headset's uploads of the session are: on each change of a percent or the status. "
    "100 and completed only when video and data are both there.",
    (Arg("upload", p.UploadProgress),),
    to="the session's tablet",
)

ON_QA_COMPLETED = Outbound(
    "on-qa-completed",
    "A recording was measured, a moment after its upload or anew. `sessionId` is its folder in the "
    "bucket (`YYYYMMDD_HHMMSS`), as in `/api/qa-metrics/{sessionId}`.",
    (Arg("quality", p.QaCompleted),),
    to="subscribed dashboards, and the tablet of the session in which it was recorded",
)

ON_FLEET_STATUS_UPDATED = Outbound(
    "on-fleet-status-updated",
    "The whole fleet: on subscribing, and when a device has left it.",
    (Arg("devices", list[p.DeviceState]),),
    to=_DASHBOARDS,
)
ON_DEVICE_TELEMETRY_UPDATED = Outbound(
    "on-device-telemetry-updated",
    "One device changed. Replace it by deviceId: the first whole fleet and the updates since are "
    "always the fleet as it is now.",
    (Arg("device", p.DeviceState),),
    to=_DASHBOARDS,
)

# --- headset to server ------------------------------------------------------------------------

HEADSET_IDENTIFY = Inbound(
    "headset-identify",
    DeviceType.HEADSET,
    "Register as this device. A newer connection of the same device takes over.",
    (_DEVICE,),
    Rate(3, 5),
    replies=(ON_HEADSET_CONNECTED,),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
HEADSET_FRAME = Inbound(
    "headset-frame",
    DeviceType.HEADSET,
    "A frame of the preview: base64 text, or the JPEG in binary, a quarter smaller.",
    (Arg("data", p.FrameData | p.JpegBytes),),
    Rate(120, 1),
    replies=(ON_HEADSET_FRAME_UPDATED, ON_HEADSET_FRAME),
    invalid=ErrorCode.INVALID_FRAME_DATA,
)
HEADSET_STATUS = Inbound(
    "headset-status",
    DeviceType.HEADSET,
    "A status, passed on to the tablets that watch.",
    (Arg("data", p.StatusData),),
    Rate(10, 1),
    replies=(ON_HEADSET_STATUS_UPDATED,),
    invalid=ErrorCode.INVALID_STATUS_DATA,
)
DEVICE_TELEMETRY = Inbound(
    "device-telemetry",
    DeviceType.HEADSET,
    "Telemetry: an object, its JSON text, or the JSON text of that text.",
    (Arg("telemetry", p.TelemetryData),),
    Rate(5, 1),
    replies=(ON_DEVICE_TELEMETRY_UPDATED,),
    invalid=ErrorCode.INVALID_TELEMETRY,
)
HEADSET_LOGS_PROCESSED = Inbound(
    "headset-logs-processed",
    DeviceType.HEADSET,
    "The headset has processed its logs.",
    replies=(ON_HEADSET_LOGS_PROCESSED,),
)
HEADSET_RECORDING_STATE = Inbound(
    "headset-recording-state",
    DeviceType.HEADSET,
    "Recording started or stopped.",
    (Arg("recording", p.Flag),),
    Rate(5, 1),
    replies=(
        ON_DEVICE_RECORDING_CHANGED,
        ON_HEADSET_RECORDING_ACTIVE,
        ON_HEADSET_RECORDING_INACTIVE,
    ),
)

# --- tablet to server -------------------------------------------------------------------------

TABLET_LOCK_DEVICE = Inbound(
    "tablet-lock-device",
    DeviceType.TABLET,
    "Ask for the exclusive lock of a device. Again for one already held is success.",
    (_DEVICE,),
    Rate(10, 2),
    replies=(ON_DEVICE_LOCKED, ON_DEVICE_LOCK_FAILED),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_UNLOCK_DEVICE = Inbound(
    "tablet-unlock-device",
    DeviceType.TABLET,
    "Release a lock. Nothing happens to one that is another tablet's.",
    (_DEVICE,),
    Rate(10, 2),
    replies=(ON_DEVICE_UNLOCKED,),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_LOCK_DEVICES = Inbound(
    "tablet-lock-devices",
    DeviceType.TABLET,
    "Lock up to 50 devices in one decision: of two tablets, never both get the same one.",
    (Arg("deviceIds", p.DeviceIds),),
    Rate(5, 5),
    replies=(ON_DEVICES_LOCKED,),
    failure=ON_DEVICES_LOCKED,
)
TABLET_UNLOCK_ALL_DEVICES = Inbound(
    "tablet-unlock-all-devices",
    DeviceType.TABLET,
    "Release every lock this tablet holds.",
    (),
    Rate(2, 5),
    replies=(ON_ALL_DEVICES_UNLOCKED,),
)
TABLET_START_RECORDING = Inbound(
    "tablet-start-recording",
    DeviceType.TABLET,
    "Start recording on a device that this tablet, or nobody, holds.",
    (_DEVICE,),
    Rate(5, 1),
    replies=(ON_TABLET_START_RECORDING, ON_RECORDING_DENIED),
    ack=p.RecordingAck,
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_STOP_RECORDING = Inbound(
    "tablet-stop-recording",
    DeviceType.TABLET,
    "Stop recording on a device that this tablet, or nobody, holds.",
    (_DEVICE,),
    Rate(5, 1),
    replies=(ON_TABLET_STOP_RECORDING, ON_RECORDING_DENIED),
    ack=p.RecordingAck,
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_START_ALL_RECORDING = Inbound(
    "tablet-start-all-recording",
    DeviceType.TABLET,
    "Start recording on every device this tablet holds.",
    (),
    Rate(3, 2),
    replies=(ON_TABLET_START_RECORDING,),
    ack=p.StartAllAck,
)
TABLET_STOP_ALL_RECORDING = Inbound(
    "tablet-stop-all-recording",
    DeviceType.TABLET,
    "Stop recording on every device this tablet holds.",
    (),
    Rate(3, 2),
    replies=(ON_TABLET_STOP_RECORDING,),
    ack=p.StopAllAck,
)
TABLET_TOGGLE_RECORDING = Inbound(
    "tablet-toggle-recording",
    DeviceType.TABLET,
    "Toggle recording on a device that this tablet, or nobody, holds.",
    (_HEADSET_ID,),
    Rate(5, 1),
    replies=(ON_TABLET_RECORDING_TOGGLED, ON_RECORDING_TOGGLE_DENIED),
    invalid=ErrorCode.INVALID_DEVICE_ID,
    deprecated="tablet-start-recording and tablet-stop-recording",
)
TABLET_TOGGLE_ALL_RECORDING = Inbound(
    "tablet-toggle-all-recording",
    DeviceType.TABLET,
    "Toggle recording on every device this tablet holds.",
    (),
    Rate(5, 1),
    replies=(ON_TABLET_RECORDING_TOGGLED,),
    deprecated="tablet-start-all-recording and tablet-stop-all-recording",
)
TABLET_CREATE_SESSION = Inbound(
    "tablet-create-session",
    DeviceType.TABLET,
    "Create a session of up to 50 devices. The free ones are locked for it.",
    (Arg("request", p.CreateSession),),
    Rate(3, 5),
    replies=(ON_SESSION_CREATED, ON_SESSION_ERROR),
    failure=ON_SESSION_ERROR,
)
TABLET_START_SESSION = Inbound(
    "tablet-start-session",
    DeviceType.TABLET,
    "Start or resume recording on every device of the session.",
    (_SESSION,),
    Rate(5, 2),
    replies=(ON_SESSION_STARTED, ON_TABLET_START_RECORDING, ON_SESSION_ERROR),
    failure=ON_SESSION_ERROR,
)
TABLET_PAUSE_SESSION = Inbound(
    "tablet-pause-session",
    DeviceType.TABLET,
    "Stop recording on every device, to be resumed.",
    (_SESSION,),
    Rate(5, 2),
    replies=(ON_SESSION_PAUSED, ON_TABLET_STOP_RECORDING, ON_SESSION_ERROR),
    failure=ON_SESSION_ERROR,
)
TABLET_END_SESSION = Inbound(
    "tablet-end-session",
    DeviceType.TABLET,
    "Stop recording and end the session.",
    (_SESSION,),
    Rate(5, 2),
    replies=(ON_SESSION_ENDED, ON_TABLET_STOP_RECORDING, ON_SESSION_ERROR),
    failure=ON_SESSION_ERROR,
)
TABLET_GET_SESSION = Inbound(
    "tablet-get-session",
    DeviceType.TABLET,
    "Ask for a session.",
    (_SESSION,),
    Rate(10, 1),
    replies=(ON_SESSION_STATUS, ON_SESSION_ERROR),
    failure=ON_SESSION_ERROR,
)
TABLET_GET_ACTIVE_SESSION = Inbound(
    "tablet-get-active-session",
    DeviceType.TABLET,
    "Ask for this tablet's newest session that is not completed.",
    (),
    Rate(10, 1),
    replies=(ON_ACTIVE_SESSION,),
)
TABLET_CONNECT_HEADSET = Inbound(
    "tablet-connect-headset",
    DeviceType.TABLET,
    "Watch one headset without a lock.",
    (_HEADSET_ID,),
    Rate(10, 2),
    replies=(ON_HEADSET_CONNECTED, ON_HEADSET_DISCONNECTED),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_DISCONNECT_HEADSET = Inbound(
    "tablet-disconnect-headset",
    DeviceType.TABLET,
    "Stop watching a headset.",
    (_HEADSET_ID,),
    Rate(10, 2),
    replies=(ON_HEADSET_DISCONNECTED,),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_GET_RECORDING_STATUS = Inbound(
    "tablet-get-recording-status",
    DeviceType.TABLET,
    "Ask whether a headset records.",
    (_HEADSET_ID,),
    Rate(10, 1),
    replies=(ON_RECORDING_ACTIVE, ON_RECORDING_INACTIVE),
    invalid=ErrorCode.INVALID_DEVICE_ID,
)
TABLET_SYNC_METADATA = Inbound(
    "tablet-sync-metadata",
    DeviceType.TABLET,
    "Send metadata to one device, or to the watched one and all that this tablet holds.",
    (Arg("data", p.MetadataText), Arg("targetDeviceId", p.DeviceId, optional=True)),
    Rate(5, 1),
    replies=(ON_TABLET_METADATA_SYNCED,),
    invalid=ErrorCode.INVALID_METADATA,
)

# --- dashboard to server ----------------------------------------------------------------------

DASHBOARD_SUBSCRIBE = Inbound(
    "dashboard-subscribe",
    DeviceType.DASHBOARD,
    "Get the whole fleet, then every change.",
    (),
    Rate(5, 5),
    replies=(ON_FLEET_STATUS_UPDATED, ON_DEVICE_TELEMETRY_UPDATED),
)
DASHBOARD_UNSUBSCRIBE = Inbound(
    "dashboard-unsubscribe", DeviceType.DASHBOARD, "No further changes.", (), Rate(5, 5)
)

DASHBOARD_WATCH = Inbound(
    "dashboard-watch",
    DeviceType.DASHBOARD,
    "Get about one picture a second of each of these headsets as `on-headset-frame`: of those that "
    "are visible, at most 100. Takes the place of the last such list; an empty one ends it.",
    (Arg("deviceIds", p.DeviceIds),),
    Rate(20, 5),
    replies=(ON_HEADSET_FRAME,),
)

INBOUND: dict[str, Inbound] = {
    event.name: event for event in list(globals().values()) if isinstance(event, Inbound)
}
OUTBOUND: dict[str, Outbound] = {
    event.name: event for event in list(globals().values()) if isinstance(event, Outbound)
}
