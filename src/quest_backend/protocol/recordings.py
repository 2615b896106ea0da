"""Where recordings lie and how large their parts are (schema: S3 Data Organization)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from quest_backend.protocol.limits import MIN_PART_BYTES

PREFIX = "sessions/"
_FOLDER_FORMAT = "%Y%m%d_%H%M%S"
_FOLDER = re.compile(r"\d{8}_\d{6}", re.ASCII)
_UNIX_MS = re.compile(r"\d{13,16}", re.ASCII)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?", re.ASCII)
_MIB = 1024 * 1024


class FileType(StrEnum):
    """The two files of a recording."""

    VIDEO = "video"
    DATA = "data"


FILE_NAMES = {FileType.VIDEO: "recording.mp4", FileType.DATA: "session_data.npz"}
CONTENT_TYPES = {FileType.VIDEO: "video/mp4", FileType.DATA: "application/octet-stream"}


def key_of(folder: str, file_type: FileType) -> str:
    """The object key of one file of a recording."""
    return f"{PREFIX}{folder}/{FILE_NAMES[file_type]}"


def parse_key(key: str) -> tuple[str, FileType]:
    """The folder and file that ``key`` names.

    Raises:
        ValueError: any key that a client may not write.
    """
    folder, _, name = key.removeprefix(PREFIX).partition("/")
    for file_type, file_name in FILE_NAMES.items():
        if name == file_name and key.startswith(PREFIX) and is_folder(folder):
            return folder, file_type
    raise ValueError("not a key of a recording: sessions/{YYYYMMDD_HHMMSS}/" + " or ".join(
        FILE_NAMES.values()))  # fmt: skip


def is_folder(text: str) -> bool:
    """Whether ``text`` is ``YYYYMMDD_HHMMSS`` with a date that exists."""
    if not _FOLDER.fullmatch(text):
        return False
    try:
        datetime.strptime(text, _FOLDER_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


def folder_of(timestamp: str) -> str:
    """The folder a client asks for: ``YYYYMMDD_HHMMSS``, Unix milliseconds or ISO 8601, in UTC.

    Raises:
        ValueError: none of these, or a date that does not exist.
    """
    if is_folder(timestamp):
        return timestamp
    try:
        if _UNIX_MS.fullmatch(timestamp):
            moment = datetime.fromtimestamp(int(timestamp) / 1000, UTC)
        elif _ISO.fullmatch(timestamp):
            moment = datetime.fromisoformat(timestamp)
        else:
            raise ValueError
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return f"{moment.astimezone(UTC):{_FOLDER_FORMAT}}"
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            "not a time: YYYYMMDD_HHMMSS, Unix milliseconds or ISO 8601 of a date that exists"
        ) from None


def following(folder: str, count: int) -> list[str]:
    """``folder`` and the seconds after it, ``count`` in all (fewer at the end of the calendar)."""
    start = datetime.strptime(folder, _FOLDER_FORMAT).replace(tzinfo=UTC)
    room = int((datetime.max.replace(tzinfo=UTC) - start).total_seconds())
    return [
        f"{start + timedelta(seconds=second):{_FOLDER_FORMAT}}"
        for second in range(min(count, room + 1))
    ]


def spans_after(folder: str, seconds: int, count: int) -> list[str]:
    """Starts of the ``count`` spans of ``seconds`` that go on where the first from ``folder`` ends.

    They are the same for every folder: ``seconds`` divides a day, and they count from midnight.
    """
    began = datetime.strptime(folder, _FOLDER_FORMAT).replace(tzinfo=UTC)
    since_midnight = began.hour * 3600 + began.minute * 60 + began.second
    try:
        first = began + timedelta(seconds=seconds - since_midnight % seconds)
        return [
            f"{first + timedelta(seconds=seconds * number):{_FOLDER_FORMAT}}"
            for number in range(count)
        ]
    except OverflowError:  # the end of the calendar
        return []


@dataclass(frozen=True, slots=True)
class PartPlan:
    """How a file is cut: ``parts`` parts of ``chunk_bytes``, the last one shorter or as long."""

    file_bytes: int
    chunk_bytes: int

    @property
    def parts(self) -> int:
        """How many, at least 1."""
        return -(-self.file_bytes // self.chunk_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of part ``number`` (from 1)."""
        if not 1 <= number <= self.parts:
            raise ValueError(f"part {number} of {self.parts}")
        return min(self.chunk_bytes, self.file_bytes - (number - 1) * self.chunk_bytes)

    def offset_of(self, number: int) -> int:
        """Where part ``number`` begins in the file."""
        return (number - 1) * self.chunk_bytes


def plan(file_bytes: int, chunk_bytes: int, max_parts: int) -> PartPlan:
    """Parts of ``chunk_bytes``; of more, in whole MiB, only where ``max_parts`` would not reach.

    Raises:
        ValueError: an empty file, or parts below what S3 takes (5 MiB, except the last).
    """
    if file_bytes < 1 or chunk_bytes < MIN_PART_BYTES:
        raise ValueError("a file has at least 1 byte and a part at least 5 MiB")
    if file_bytes > chunk_bytes * max_parts:
        chunk_bytes = -(-file_bytes // (max_parts * _MIB)) * _MIB
    return PartPlan(file_bytes, chunk_bytes)
