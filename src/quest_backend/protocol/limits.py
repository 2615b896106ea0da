"""Sizes, counts and lifetimes of the wire contract (schema: Validation Schemas, Constants)."""

from dataclasses import dataclass

DEVICE_ID_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"
# A token names a device, so its id may not be guessable in a handful of tries.
TOKEN_DEVICE_ID_PATTERN = r"^[a-zA-Z0-9_-]{8,64}$"  # noqa: S105 - a pattern
SESSION_ID_PATTERN = r"^[a-zA-Z0-9_.-]{1,100}$"

MAX_FRAME_BYTES = 1024 * 1024
MAX_STATUS_BYTES = 10 * 1024
MAX_METADATA_BYTES = 100 * 1024
# The schema bounds no telemetry; unknown fields are kept, so something must.
MAX_TELEMETRY_BYTES = 64 * 1024
# orjson reads 1024 levels but writes only 254, and what clients send goes out wrapped in lists.
MAX_JSON_DEPTH = 100
# One Engine.IO message. Above it the connection is closed (1009).
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_CUSTOM_NAME_CHARS = 100
MAX_SESSION_DEVICES = 50
MAX_WATCHED_DEVICES = 100

DEVICE_STATE_TTL_S = 24 * 3600
LOCK_TTL_S = 2 * 3600
SESSION_TTL_S = 7 * 24 * 3600
TELEMETRY_TTL_S = 300
HISTORY_WINDOW_S = 24 * 3600
HISTORY_SAMPLE_S = 300
AUDIT_WINDOW_S = 90 * 24 * 3600

# S3 refuses parts under 5 MiB except the last, and over 5 GiB.
MIN_PART_BYTES = 5 * 1024 * 1024
MAX_CHUNKED_FILE_BYTES = 100 * 1024**3
MAX_FORM_FILE_BYTES = 20 * 1024**3
MAX_FILE_NAME_CHARS = 255

TOKEN_LIFETIME_S = 24 * 3600
PAIRING_LIFETIME_S = 300
LOW_BATTERY_LEVEL = 0.25


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` messages in any window of ``window_s`` seconds."""

    count: int
    window_s: float

    def __str__(self) -> str:
        return f"{self.count} / {self.window_s:g} s"


DEFAULT_RATE = Rate(50, 1)
