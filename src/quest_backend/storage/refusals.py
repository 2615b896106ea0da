"""Refusals that a client can do something about, with the HTTP status that says so."""

from enum import Enum


class Refusal(Enum):
    """Why an upload was refused, with the HTTP status that says so."""

    INVALID = 400
    FORBIDDEN = 403
    NOT_FOUND = 404
    CONFLICT = 409
    TOO_LARGE = 413
    BUSY = 503  # nothing is wrong; the same request later


class UploadRefused(Exception):  # noqa: N818 - an answer, not a fault
    """An expected refusal; ``more`` goes into the answer beside the message."""

    def __init__(self, refusal: Refusal, message: str, **more: object) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.more = more
