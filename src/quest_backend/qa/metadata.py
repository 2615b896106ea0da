"""What a recording says about itself (schema "Metadata JSON Structure"); none of it is trusted."""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quest_backend.qa.problems import BadRecording, Problem, ProblemCode

UNKNOWN = "Unknown"
_MAX_TEXT = 100
_FOLDER = re.compile(r"\d{8}_\d{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metadata:
    """Fields that could be read; what could not is None, or ``UNKNOWN``.

    ``captured_at`` has a time zone (UTC when none was given); ``problem`` says
    why nothing was read.
    """

    capture_date: str = UNKNOWN
    captured_at: datetime | None = None
    success: bool = False
    device_id: str = UNKNOWN
    app_version: str = UNKNOWN
    duration_s: float | None = None
    total_frames: int | None = None
    qa_profile: str | None = None
    problem: Problem | None = None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def parse_metadata(written: bytes | str) -> Metadata:
    """Read metadata as far as it can be read; never fails."""
    try:
        text = written.decode("utf-8") if isinstance(written, bytes) else written
    except UnicodeDecodeError:
        return _unread("the metadata is not UTF-8")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _unread("the metadata is no JSON")
    if not isinstance(found, dict):
        return _unread("the metadata is no JSON object")
    date = _text(found.get("capture_date"))
    total = _number(found.get("total_frames"))
    return Metadata(
        capture_date=date or UNKNOWN,
        captured_at=parse_time(date) if date else None,
        success=found.get("success") is True,
        device_id=_text(found.get("device_id")) or UNKNOWN,
        app_version=_text(found.get("app_version")) or UNKNOWN,
        duration_s=_number(found.get("duration_seconds")),
        total_frames=int(total) if total is not None and total == int(total) else None,
        qa_profile=_text(found.get("qa_profile")),
    )


def _unread(message: str) -> Metadata:
    return Metadata(problem=Problem(ProblemCode.BAD_METADATA, message))


def _text(value: object) -> str | None:
    """``value`` if it is text that can be shown in one line."""
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable():
        return value
    return None


def _number(value: object) -> float | None:
    """``value`` if it is a finite number (JSON has 1e999)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time; in UTC when it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def is_session_id(name: str) -> bool:
    """Whether a folder is named as the schema names sessions (``YYYYMMDD_HHMMSS``)."""
    return _FOLDER.fullmatch(name) is not None


def folder_time(session_id: str) -> datetime | None:
    """The time that a session's folder is named after, in UTC; None when there is no such time."""
    if not is_session_id(session_id):
        return None
    try:
        return datetime.strptime(session_id, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def text_of(kind: str, order: str, data: bytes) -> bytes | str:
    """The one element of a bytes (``S``) or text (``U``) array, without NumPy's padding.

    Raises:
        BadRecording: no text.
    """
    if kind == "S":
        return data.rstrip(b"\0")
    try:
        return data.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise BadRecording(ProblemCode.BAD_METADATA, "metadata.npy: not text") from None
