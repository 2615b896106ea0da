"""What a bucket holds, counted object by object (CONTRACT §8). Accounting only: no I/O, no clock.

Sessions are rows of parallel columns, 64 bytes each, sorted by id; everything else is a number per
extension, per day, or per processed output. So memory grows with sessions and outputs, which
the schema lists one by one, and with stray recordings (8 bytes each, for a true median).
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import orjson

_Key = TypeVar("_Key", str, int)

SESSIONS, OUTPUTS = "sessions/", "client_output/"
MP4, NPZ, ZIP = ".mp4", ".npz", ".zip"
NO_EXTENSION, OTHER = "(none)", "(other)"
VIDEO_NAME, DATA_NAME = "recording.mp4", "session_data.npz"

# What is no extension but a sentence with a dot in it, and how many there may be.
_MAX_EXTENSION = 12
_MAX_EXTENSIONS = 500
_ID_CHARS = 15
_ABSENT = -1
STRAY_MP4, STRAY_NPZ = 1, 2
_COLUMNS = (
    "ids", "files", "sizes", "video_sizes", "video_days", "data_sizes", "data_days", "flags",
)  # fmt: skip
_MARK = b"tally1"


def _column() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Sessions:
    """Folders under ``sessions/``, by id (YYYYMMDD_HHMMSS without the line, as a number).

    ``sizes`` are bytes of all files; ``video_*`` and ``data_*`` are of the two files that
    a recording has (-1 where it is missing); days are proleptic ordinals; ``flags`` say which
    other recordings lie there.
    """

    ids: "array[int]" = field(default_factory=_column)
    files: "array[int]" = field(default_factory=_column)
    sizes: "array[int]" = field(default_factory=_column)
    video_sizes: "array[int]" = field(default_factory=_column)
    video_days: "array[int]" = field(default_factory=_column)
    data_sizes: "array[int]" = field(default_factory=_column)
    data_days: "array[int]" = field(default_factory=_column)
    flags: "array[int]" = field(default_factory=_column)

    def columns(self) -> "list[array[int]]":
        """Every column, in order."""
        return [getattr(self, name) for name in _COLUMNS]

    def row(self, number: int) -> int:
        """The place of a session's row, made where it is missing."""
        ids = self.ids
        last = len(ids) - 1
        # A listing comes in order, so it is nearly always the last one or a new one.
        if last >= 0 and ids[last] == number:
            return last
        place = last + 1 if last < 0 or number > ids[last] else bisect_left(ids, number)
        if place <= last and ids[place] == number:
            return place
        ids.insert(place, number)
        self.files.insert(place, 0)
        self.sizes.insert(place, 0)
        self.video_sizes.insert(place, _ABSENT)
        self.video_days.insert(place, 0)
        self.data_sizes.insert(place, _ABSENT)
        self.data_days.insert(place, 0)
        self.flags.insert(place, 0)
        return place

    def find(self, number: int) -> int | None:
        """The place of a session's row, or None."""
        place = bisect_left(self.ids, number)
        return place if place < len(self.ids) and self.ids[place] == number else None

    def drop(self, place: int) -> None:
        """Take a row away."""
        for column in self.columns():
            del column[place]


@dataclass(slots=True)
class Tally:
    """A bucket, or a stretch of its keys, counted.

    ``types``: extension → [objects, bytes]. ``days``: ordinal → [objects, bytes, mp4, npz, zip].
    ``outputs``: name → (bytes, Unix ms). ``strays``: sizes of recordings outside of sessions, or
    beside a session's own two.
    """

    objects: int = 0
    size: int = 0
    types: dict[str, list[int]] = field(default_factory=dict)
    days: dict[int, list[int]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    strays: "dict[str, array[int]]" = field(
        default_factory=lambda: {MP4: _column(), NPZ: _column()}
    )
    sessions: Sessions = field(default_factory=Sessions)

    def put(self, key: str, size: int, at: datetime) -> None:
        """An object is there. A recording's file replaces what was there of it.

        Args:
            key: as the store has it.
            size: bytes, >= 0.
            at: when it was stored, in UTC.
        """
        day = at.toordinal()
        number = session_number(key)
        if number is not None:
            name = key[len(SESSIONS) + _ID_CHARS + 1 :]
            if name in (VIDEO_NAME, DATA_NAME):
                self._put_recording(number, name, size, day)
                return
        extension = extension_of(key)
        self._count(extension, day, 1, size)
        if number is not None:
            row = self.sessions.row(number)
            self.sessions.files[row] += 1
            self.sessions.sizes[row] += size
            self.sessions.flags[row] |= {MP4: STRAY_MP4, NPZ: STRAY_NPZ}.get(extension, 0)
        elif extension == ZIP and key.startswith(OUTPUTS):
            self.outputs[key[len(OUTPUTS) :]] = (size, int(at.timestamp() * 1000))
        if extension in self.strays:
            self.strays[extension].append(size)

    def _put_recording(self, number: int, name: str, size: int, day: int) -> None:
        table = self.sessions
        row = table.row(number)
        sizes, days, extension = self._file(name)
        if sizes[row] >= 0:
            self._count(extension, days[row], -1, -sizes[row])
            table.files[row] -= 1
            table.sizes[row] -= sizes[row]
        self._count(extension, day, 1, size)
        table.files[row] += 1
        table.sizes[row] += size
        sizes[row], days[row] = size, day

    def remove(self, key: str) -> None:
        """A recording's file is gone; other keys are left to the next listing."""
        number = session_number(key)
        name = key[len(SESSIONS) + _ID_CHARS + 1 :]
        row = None if number is None else self.sessions.find(number)
        if row is None or name not in (VIDEO_NAME, DATA_NAME):
            return
        sizes, days, extension = self._file(name)
        if sizes[row] < 0:
            return
        self._count(extension, days[row], -1, -sizes[row])
        self.sessions.files[row] -= 1
        self.sessions.sizes[row] -= sizes[row]
        sizes[row], days[row] = _ABSENT, 0
        if not self.sessions.files[row]:
            self.sessions.drop(row)

    def _file(self, name: str) -> "tuple[array[int], array[int], str]":
        table = self.sessions
        if name == VIDEO_NAME:
            return table.video_sizes, table.video_days, MP4
        return table.data_sizes, table.data_days, NPZ

    def _count(self, extension: str, day: int, objects: int, size: int) -> None:
        self.objects += objects
        self.size += size
        of_type = self.types.get(extension)
        if of_type is None:
            if len(self.types) >= _MAX_EXTENSIONS:
                extension = OTHER
            of_type = self.types.setdefault(extension, [0, 0])
        of_type[0] += objects
        of_type[1] += size
        if not of_type[0]:
            del self.types[extension]
        of_day = self.days.get(day)
        if of_day is None:
            of_day = self.days[day] = [0, 0, 0, 0, 0]
        of_day[0] += objects
        of_day[1] += size
        if extension in _OF_DAY:
            of_day[_OF_DAY[extension]] += objects
        if not of_day[0]:
            del self.days[day]


_OF_DAY = {MP4: 2, NPZ: 3, ZIP: 4}


def session_number(key: str) -> int | None:
    """The number of the session that ``key`` is a file of, or None (schema SESSION_ID_PATTERN)."""
    folder = key[len(SESSIONS) : len(SESSIONS) + _ID_CHARS + 1]
    if not key.startswith(SESSIONS) or len(folder) != _ID_CHARS + 1 or folder[-1] != "/":
        return None
    digits = folder[:8] + folder[9:15]
    whole = folder[8] == "_" and digits.isascii() and digits.isdigit()
    return int(digits) if whole and len(key) > len(SESSIONS) + _ID_CHARS + 1 else None


def session_id(number: int) -> str:
    """``YYYYMMDD_HHMMSS`` of a session's number."""
    digits = f"{number:014d}"
    return f"{digits[:8]}_{digits[8:]}"


def extension_of(key: str) -> str:
    """``.mp4``, in lower case; of what has none, a word in brackets."""
    name = key[key.rfind("/") + 1 :]
    dot = name.rfind(".")
    if dot <= 0 or dot == len(name) - 1:
        return NO_EXTENSION
    return name[dot:].lower() if len(name) - dot <= _MAX_EXTENSION else OTHER


def merged(parts: Sequence[Tally]) -> Tally:
    """Tallies of stretches that share no session, as one."""
    whole = Tally()
    for part in sorted(parts, key=lambda one: one.sessions.ids[0] if one.sessions.ids else -1):
        whole.objects += part.objects
        whole.size += part.size
        whole.outputs.update(part.outputs)
        _add(whole.types, part.types)
        _add(whole.days, part.days)
        for extension, sizes in part.strays.items():
            whole.strays[extension].extend(sizes)
        for into, column in zip(whole.sessions.columns(), part.sessions.columns(), strict=True):
            into.extend(column)
    whole.outputs = dict(sorted(whole.outputs.items()))
    return whole


def _add(into: dict[_Key, list[int]], more: dict[_Key, list[int]]) -> None:
    for key, numbers in more.items():
        had = into.get(key, [0] * len(numbers))
        into[key] = [one + other for one, other in zip(had, numbers, strict=True)]


def pack(tally: Tally) -> bytes:
    """``tally`` as bytes, for ``unpack``."""
    columns = [*tally.sessions.columns(), *tally.strays.values()]
    head = orjson.dumps(
        {
            "objects": tally.objects,
            "size": tally.size,
            "types": tally.types,
            "days": {str(day): numbers for day, numbers in tally.days.items()},
            "outputs": tally.outputs,
            "lengths": [len(column) for column in columns],
        }
    )
    parts = [_MARK, len(head).to_bytes(8, "big"), head, *(column.tobytes() for column in columns)]
    return b"".join(parts)


def unpack(data: bytes) -> Tally:
    """What ``pack`` was given.

    Raises:
        ValueError: these bytes are not of ``pack``.
    """
    start = len(_MARK) + 8
    end = start + int.from_bytes(data[len(_MARK) : start], "big")
    if not data.startswith(_MARK) or end > len(data):
        raise ValueError("not a tally")
    head = orjson.loads(data[start:end])
    tally = Tally(
        objects=head["objects"],
        size=head["size"],
        types=head["types"],
        days={int(day): numbers for day, numbers in head["days"].items()},
        outputs={name: (size, at) for name, (size, at) in head["outputs"].items()},
    )
    columns = [*tally.sessions.columns(), *tally.strays.values()]
    lengths = head["lengths"]
    if len(lengths) != len(columns) or end + 8 * sum(lengths) != len(data):
        raise ValueError("a tally that is cut off")
    for column, length in zip(columns, lengths, strict=True):
        column.frombytes(data[end : end + 8 * length])
        end += 8 * length
    return tally


def copied(tally: Tally) -> Tally:
    """A tally of its own, to change."""
    return merged([tally])


def date_of(day: int) -> str:
    """``YYYY-MM-DD`` of an ordinal."""
    return datetime.fromordinal(day).replace(tzinfo=UTC).date().isoformat()
