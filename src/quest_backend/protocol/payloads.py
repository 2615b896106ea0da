"""Payload types of the wire, inbound ones with their bounds (schema: TypeScript Interfaces)."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    Strict,
    StringConstraints,
)
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypedDict

from quest_backend.protocol import limits

Json = dict[str, Any]

DeviceId = Annotated[str, Strict(), StringConstraints(pattern=limits.DEVICE_ID_PATTERN)]
SessionId = Annotated[str, Strict(), StringConstraints(pattern=limits.SESSION_ID_PATTERN)]
IsoTime = Annotated[str, Field(description="ISO 8601 UTC with milliseconds and Z")]


def _bytes_at_most(limit: int, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:  # a lone surrogate; no JSON encoder writes it
        raise ValueError("not valid Unicode") from None
    if size > limit:
        raise ValueError(f"longer than {limit} bytes")
    return value


def _json_at_most(limit: int, value: Any) -> Any:
    """Refuse an object that could not be sent on: too deep or too large to be written as JSON."""
    if not isinstance(value, dict):
        return value
    level: list[Any] = [value]
    for _ in range(limits.MAX_JSON_DEPTH):
        inside = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if any(isinstance(inner, bytes) for inner in inside):
            raise ValueError("binary data inside an object")
        level = [inner for inner in inside if isinstance(inner, dict | list)]
        if not level:
            break
    else:
        raise ValueError(f"nested deeper than {limits.MAX_JSON_DEPTH} levels")
    try:
        size = len(to_json(value))
    except PydanticSerializationError:  # lone surrogates
        raise ValueError("not valid JSON") from None
    if size > limit:
        raise ValueError(f"longer than {limit} bytes")
    return value


FrameData = Annotated[
    str,
    Strict(),
    Field(min_length=1, max_length=limits.MAX_FRAME_BYTES, description="base64 JPEG"),
    BeforeValidator(lambda value: _bytes_at_most(limits.MAX_FRAME_BYTES, value)),
]
JpegBytes = Annotated[
    bytes,
    Strict(),
    Field(min_length=1, max_length=limits.MAX_FRAME_BYTES, description="JPEG, binary"),
]
StatusData = Annotated[
    str,
    Strict(),
    Field(
        description="JSON text; the limit counts bytes of UTF-8",
        json_schema_extra={"maxLength": limits.MAX_STATUS_BYTES},
    ),
    BeforeValidator(lambda value: _bytes_at_most(limits.MAX_STATUS_BYTES, value)),
]
MetadataText = Annotated[
    str,
    Strict(),
    Field(
        description="any text; the limit counts bytes of UTF-8",
        json_schema_extra={"maxLength": limits.MAX_METADATA_BYTES},
    ),
    BeforeValidator(lambda value: _bytes_at_most(limits.MAX_METADATA_BYTES, value)),
]

_Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
# Beyond 2^53 a JavaScript client no longer counts.
_Amount = Annotated[float, Strict(), Field(ge=0, le=2**53, allow_inf_nan=False)]
_Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
_Text = Annotated[str, Strict(), Field(max_length=256)]


# The first bad one is enough: a million of them must not cost a million explanations.
DeviceIds = Annotated[list[DeviceId], FailFast()]


class DeviceTelemetry(BaseModel):
    """What a headset says of itself. Every field may be left out; unknown ones are kept."""

    model_config = ConfigDict(extra="allow")

    deviceId: DeviceId | None = None
    deviceName: _Text = ""
    customName: _Text | None = None
    timestamp: Annotated[_Amount, Field(description="Unix milliseconds")] = 0
    batteryLevel: _Share = 0
    batteryState: Annotated[
        float,
        Strict(),
        Field(
            ge=0,
            le=4,
            multiple_of=1,
            description="0 unknown, 1 charging, 2 discharging, 3 not charging, 4 full",
        ),
    ] = 0
    storageUsedBytes: _Amount = 0
    storageTotalBytes: _Amount = 0
    wifiSignalLevel: Annotated[
        float, Strict(), Field(ge=-100, le=0, allow_inf_nan=False, description="dBm")
    ] = 0
    wifiSSID: _Text = ""
    appVersion: _Text = ""
    osVersion: _Text = ""
    sdkVersion: _Text = ""
    leftHandTracked: Flag = False
    rightHandTracked: Flag = False
    bodyTracked: Flag = False
    trackingConfidence: _Share = 0
    isRecording: Flag = False
    sessionDuration: Annotated[_Amount, Field(description="seconds")] = 0
    productiveTime: Annotated[_Amount, Field(description="seconds")] = 0
    frameCount: _Amount = 0
    droppedFrames: _Amount = 0
    cpuTemperature: Annotated[_Number, Field(description="°C")] = 0
    gpuTemperature: Annotated[_Number, Field(description="°C")] = 0
    memoryUsedMB: _Amount = 0
    memoryTotalMB: _Amount = 0


def _decode_telemetry(value: Any) -> Any:
    # Unity's JsonUtility double-encodes: '"{\"batteryLevel\":0.81}"'. Decode twice, at most.
    for _ in range(2):
        if not isinstance(value, str):
            break
        _bytes_at_most(limits.MAX_TELEMETRY_BYTES, value)
        value = from_json(value, allow_inf_nan=False)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    _json_at_most(limits.MAX_TELEMETRY_BYTES, value)
    DeviceTelemetry.model_validate(value)
    return value


# The dict itself goes on, not the model: what a headset sent is passed on as it was.
TelemetryData = Annotated[
    Json,
    BeforeValidator(_decode_telemetry, json_schema_input_type=DeviceTelemetry | str),
    Field(description="at most 64 KiB and 100 levels of JSON; a wrong known field refuses it all"),
]


class CreateSession(BaseModel):
    """``tablet-create-session``."""

    deviceIds: Annotated[list[DeviceId], Field(min_length=1, max_length=limits.MAX_SESSION_DEVICES)]
    metadata: Annotated[
        Json | None,
        Field(description="participant, study, notes …; at most 100 KiB as JSON"),
        BeforeValidator(lambda value: _json_at_most(limits.MAX_METADATA_BYTES, value)),
    ] = None


class DeviceState(TypedDict):
    """One device as dashboards and ``/api/devices`` see it."""

    deviceId: str
    socketId: str
    isOnline: bool
    lastSeen: IsoTime
    connectionTime: IsoTime
    telemetry: Annotated[Json | None, Field(description="the last DeviceTelemetry")]
    isLocked: bool
    isRecording: bool
    customName: str
    lockedByTabletId: NotRequired[str]
    lockedAt: NotRequired[IsoTime]


class HeadsetListInfo(TypedDict):
    """An online headset in the list that goes to every client."""

    deviceId: str
    isLocked: bool
    customName: str
    lockedByTabletId: NotRequired[str]


class DeviceLockStatus(TypedDict):
    """Lock of one online headset."""

    deviceId: str
    isLocked: bool
    lockedByTabletId: NotRequired[str]


class ErrorReport(TypedDict):
    """Why an event was refused."""

    code: str
    message: str


class DeviceRef(TypedDict):
    """Names one device."""

    deviceId: str


class LockFailed(TypedDict):
    """``reason``: ``Device not online`` or ``Device locked by another tablet``."""

    deviceId: str
    reason: str


class DevicesLocked(TypedDict):
    """Result of a batch lock."""

    locked: list[str]
    failed: list[str]
    error: NotRequired[str]


class AllUnlocked(TypedDict):
    """Result of releasing all."""

    unlocked: list[str]


class RecordingChanged(TypedDict):
    """A headset started or stopped recording."""

    deviceId: str
    isRecording: bool


class SessionCreated(TypedDict):
    """``unavailable``: asked-for devices that are offline or another tablet's."""

    sessionId: str
    deviceIds: list[str]
    unavailable: NotRequired[list[str]]


class SessionRef(TypedDict):
    """Names one session."""

    sessionId: str


class SessionStarted(TypedDict):
    """``startedAt`` is the first start, also after a pause."""

    sessionId: str
    startedAt: IsoTime


class SessionEnded(TypedDict):
    """Tablets get all three; headsets only ``sessionId``. ``duration`` is whole seconds."""

    sessionId: str
    endedAt: NotRequired[IsoTime]
    duration: NotRequired[int]


class SessionError(TypedDict):
    """Why a session request was refused."""

    error: str
    sessionId: NotRequired[str]
    unavailable: NotRequired[list[str]]


SessionState = Literal["pending", "recording", "paused", "completed", "uploading"]
UploadState = Literal["pending", "uploading", "completed", "failed"]


class DeviceSessionStatus(TypedDict):
    """One device's part in a session. ``uploadProgress`` is percent."""

    deviceId: str
    isRecording: bool
    frameCount: int
    uploadProgress: float
    uploadStatus: UploadState


class UploadProgress(TypedDict):
    """A headset's part in a session, video and data together. ``uploadProgress`` is percent."""

    sessionId: str
    deviceId: str
    uploadStatus: UploadState
    uploadProgress: Annotated[int, Field(ge=0, le=100)]


class QaCompleted(TypedDict):
    """A recording was measured. ``sessionId`` is its folder, ``overallQualityScore`` 0..100.

    ``captureSessionId`` and ``deviceId``: in which session and by which headset, where known.
    """

    sessionId: SessionId
    overallQualityScore: Annotated[float, Field(ge=0, le=100)]
    verdict: Literal["PASS", "WARN", "FAIL"]
    captureSessionId: NotRequired[SessionId]
    deviceId: NotRequired[DeviceId]


class SessionStatus(TypedDict):
    """A whole session."""

    sessionId: str
    status: SessionState
    deviceIds: list[str]
    createdAt: IsoTime
    startedAt: NotRequired[IsoTime]
    endedAt: NotRequired[IsoTime]
    metadata: Json
    deviceStatuses: list[DeviceSessionStatus]


class ActiveSession(TypedDict):
    """The tablet's newest session that is not completed."""

    sessionId: str
    status: SessionState
    deviceIds: list[str]


class RecordingAck(TypedDict):
    """Ack of starting or stopping one device."""

    success: bool
    deviceId: str
    error: NotRequired[str]


class DeviceOutcome(TypedDict):
    """One device's part of a batch."""

    success: bool
    error: NotRequired[str]


class StartAllAck(TypedDict):
    """Ack of starting all."""

    success: bool
    results: dict[str, DeviceOutcome]
    startedCount: int
    totalDevices: int


class StopAllAck(TypedDict):
    """Ack of stopping all."""

    success: bool
    results: dict[str, DeviceOutcome]
    stoppedCount: int
    totalDevices: int
