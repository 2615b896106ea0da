"""Codes of the ``error {code, message}`` event: clients switch on them, people read the rest."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why an event was refused; nothing changed. Existing clients know the first seven."""

    INVALID_DEVICE_ID = "INVALID_DEVICE_ID"
    NOT_IDENTIFIED = "NOT_IDENTIFIED"
    INVALID_FRAME_DATA = "INVALID_FRAME_DATA"
    INVALID_STATUS_DATA = "INVALID_STATUS_DATA"
    INVALID_TELEMETRY = "INVALID_TELEMETRY"
    INVALID_INPUT = "INVALID_INPUT"
    INVALID_METADATA = "INVALID_METADATA"
    FORBIDDEN = "FORBIDDEN"
    DEVICE_ID_MISMATCH = "DEVICE_ID_MISMATCH"
    DEVICE_OFFLINE = "DEVICE_OFFLINE"
    REPLACED = "REPLACED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


MEANING: dict[ErrorCode, str] = {
    ErrorCode.INVALID_DEVICE_ID: "The device id is not 1-64 letters, digits, `_` or `-`.",
    ErrorCode.NOT_IDENTIFIED: "Send `headset-identify` first.",
    ErrorCode.INVALID_FRAME_DATA: "The frame is not a base64 string of at most 1 MiB.",
    ErrorCode.INVALID_STATUS_DATA: "The status is not a string of at most 10 KiB.",
    ErrorCode.INVALID_TELEMETRY: "Not a telemetry object, or a known field is out of range.",
    ErrorCode.INVALID_INPUT: "The packet, event name or payload is not of the documented form.",
    ErrorCode.INVALID_METADATA: "The metadata is not a string of at most 100 KiB.",
    ErrorCode.FORBIDDEN: "This token's device type may not do that.",
    ErrorCode.DEVICE_ID_MISMATCH: "A headset speaks only for the device id of its token.",
    ErrorCode.DEVICE_OFFLINE: "The device that was named is not connected.",
    ErrorCode.REPLACED: "A newer connection identified as this headset and took over.",
    ErrorCode.UNAVAILABLE: "The server's state store does not answer; try again shortly.",
    ErrorCode.INTERNAL_ERROR: "A fault of the server, logged there; nothing changed.",
}


class InvalidPayload(ValueError):  # noqa: N818 - it is the client's, not ours
    """A payload that is not of the documented form.

    ``code`` is what the client is told, the message says which part is wrong.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
