"""What an MP4 says about itself, by range reads of its boxes (ISO/IEC 14496-12).

The pictures are stepped over. The index (``moov``) is fetched as a whole unless it is very large:
two requests for an hour, wherever the index lies. In a larger one its tables are stepped over.
"""

import struct
from dataclasses import dataclass, field

from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.ranges import Held, Reads

_AHEAD_BYTES = 16 * 1024
# An index of two hours has 1 to 4 MiB; a request takes as long as about one.
_INDEX_BYTES = 4 * 1024 * 1024
# Its first bytes, the index, and as much again while it is looked at.
MOST_HELD_BYTES = 2 * _INDEX_BYTES
_MAX_BOXES = 500
_MAX_DEPTH = 6
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_READ = {b"mdhd", b"hdlr", b"stsd", b"stsz", b"mvex"}
# Of the read boxes, no more than this is looked at.
_HEAD_BYTES = 120
_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "hevc", b"hev1": "hevc", b"av01": "av1",
           b"vp09": "vp9", b"mp4v": "mpeg4"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Video:
    """The first video track. ``frames`` is None for a fragmented file, whose pictures are not
    counted in one place.
    """

    codec: str
    width: int
    height: int
    frames: int | None
    duration_s: float | None


@dataclass(slots=True)
class _Track:
    is_video: bool = False
    codec: bytes = b""
    width: int = 0
    height: int = 0
    frames: int | None = None
    duration_s: float | None = None


@dataclass(slots=True)
class _Movie:
    tracks: list[_Track] = field(default_factory=list)
    fragmented: bool = False
    boxes: int = 0


class _BadVideo(Exception):  # noqa: N818 - the input is bad, not the program
    """The boxes make no sense."""


def read_video(size: int) -> Reads[Video | Problem]:
    """Read the description of an MP4 file of ``size`` bytes; bad input is a result."""
    if size == 0:
        return Problem(ProblemCode.VIDEO_UNREADABLE, "the video cannot be read: it is empty")
    movie = _Movie()
    try:
        yield from _walk(Held(size), 0, size, 0, movie)
        return _described(movie)
    except (_BadVideo, struct.error) as bad:
        text = str(bad) if isinstance(bad, _BadVideo) else "a box is too short"
        return Problem(ProblemCode.VIDEO_UNREADABLE, f"the video cannot be read: {text}")


def _walk(held: Held, start: int, end: int, depth: int, movie: _Movie) -> Reads[None]:
    at = start
    while at < end:
        movie.boxes += 1
        if movie.boxes > _MAX_BOXES or depth > _MAX_DEPTH:
            raise _BadVideo("too many boxes")
        # Behind the pictures there is little but the index.
        rest = end - at if depth == 0 and at > 0 and end - at <= _INDEX_BYTES else 0
        head = yield from held.read(at, min(16, end - at), max(rest, _AHEAD_BYTES))
        kind, body, after = _box(head, at, end)
        if kind in _CONTAINERS:
            if kind == b"trak":
                movie.tracks.append(_Track())
            if kind == b"moov" and after - body <= _INDEX_BYTES:
                yield from held.read(body, after - body)
            yield from _walk(held, body, after, depth + 1, movie)
            if kind == b"moov":
                return
        elif kind in _READ and depth > 0:
            data = yield from held.read(body, min(_HEAD_BYTES, after - body), _AHEAD_BYTES)
            _take(kind, data, movie)
        at = after


def _box(head: bytes, at: int, end: int) -> tuple[bytes, int, int]:
    """Kind, start of the content, and end of the box at ``at``."""
    size, kind = struct.unpack_from(">L4s", head)
    body = at + 8
    if size == 1:
        (size,) = struct.unpack_from(">Q", head, 8)
        body = at + 16
    elif size == 0:
        size = end - at
    if size < body - at:
        raise _BadVideo("a box is shorter than its header")
    if at + size > end:
        raise _BadVideo("a box is longer than what it is in; the file may be cut off")
    return kind, body, at + size


def _take(kind: bytes, data: bytes, movie: _Movie) -> None:
    if kind == b"mvex":
        movie.fragmented = True
        return
    if not movie.tracks:
        return
    track = movie.tracks[-1]
    if kind == b"hdlr":
        track.is_video = data[8:12] == b"vide"
    elif kind == b"mdhd":
        layout, at = (">LQ", 20) if data[:1] == b"\1" else (">LL", 12)
        timescale, duration = struct.unpack_from(layout, data, at)
        track.duration_s = duration / timescale if timescale and duration else None
    elif kind == b"stsz":
        (track.frames,) = struct.unpack_from(">L", data, 8)
    elif kind == b"stsd":
        _, track.codec = struct.unpack_from(">L4s", data, 8)
        # Sample entry: 8 bytes header, 24 bytes of VisualSampleEntry, then width and height.
        if len(data) >= 44:
            track.width, track.height = struct.unpack_from(">2H", data, 40)


def _described(movie: _Movie) -> Video:
    track = next((track for track in movie.tracks if track.is_video), None)
    if track is None:
        raise _BadVideo("it has no video track")
    if not track.codec or not track.width or not track.height:
        raise _BadVideo("its video track is not described")
    name = _CODECS.get(track.codec) or track.codec.decode("ascii", "replace")
    frames = None if movie.fragmented else track.frames
    codec = name if name.isprintable() else "unknown"
    return Video(codec, track.width, track.height, frames, track.duration_s)
