"""The MP4 reader, on videos that FFmpeg made and on damaged ones."""

import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import Counted
from videos import long_movie

from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.ranges import read
from quest_backend.qa.video import Video, read_video

FRAMES, RATE = 45, 30


def movie(
    options: dict[str, str] | None = None, codec: str = "libx264", *, sound: bool = False
) -> bytes:
    # A real file: to put the index first, FFmpeg opens it again.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        _write(path, options or {}, codec, sound)
        return path.read_bytes()


def _write(path: Path, options: dict[str, str], codec: str, sound: bool) -> None:
    with av.open(path, "w", format="mp4", options=options) as made:
        if sound:
            audio = made.add_stream("aac", rate=48_000)
        stream = made.add_stream(codec, rate=RATE)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), "fltp", "mono")
            silence.sample_rate = 48_000
            for packet in [*audio.encode(silence), *audio.encode(None)]:
                made.mux(packet)
        noise = np.random.default_rng(1)
        for number in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(
                noise.integers(0, 255, (240, 320, 3), np.uint8), format="rgb24"
            )
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            made.mux(stream.encode(picture))
        made.mux(stream.encode(None))


MOVIE = movie()


def opened(data: bytes) -> Video | Problem:
    return read(read_video(len(data)), Counted(data))


@pytest.mark.parametrize(
    "data",
    [MOVIE, movie({"movflags": "faststart"}), movie(sound=True)],
    ids=["index last", "index first", "sound before video"],
)
def test_real_videos_tell_what_ffmpeg_wrote(data: bytes) -> None:
    video = opened(data)
    assert isinstance(video, Video)
    assert (video.codec, video.width, video.height, video.frames) == ("h264", 320, 240, FRAMES)
    assert video.duration_s == pytest.approx(FRAMES / RATE, abs=0.01)


def test_other_codecs_are_named() -> None:
    video = opened(movie(codec="mpeg4"))
    assert isinstance(video, Video)
    assert video.codec == "mpeg4"


def test_a_fragmented_video_has_no_count() -> None:
    video = opened(movie({"movflags": "frag_keyframe+empty_moov"}))
    assert isinstance(video, Video)
    assert video.frames is None
    assert (video.width, video.height) == (320, 240)


def test_pictures_are_stepped_over() -> None:
    source = Counted(MOVIE)
    assert isinstance(read(read_video(len(MOVIE)), source), Video)
    assert source.requests <= 3
    assert source.bytes < len(MOVIE) / 10


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["last", "first"])
def test_the_large_index_of_a_long_video_takes_two_requests(
    options: dict[str, str], tmp_path: Path
) -> None:
    frames = 20_000
    long_movie(tmp_path / "long.mp4", frames, options)
    source = Counted((tmp_path / "long.mp4").read_bytes())
    video = read(read_video(len(source.data)), source)
    assert isinstance(video, Video)
    assert (video.codec, video.frames) == ("h264", frames)
    assert video.duration_s == pytest.approx(frames / 60, rel=0.01)
    assert source.requests == 2
    assert source.bytes < len(source.data) / 10


def test_the_tables_of_a_huge_index_are_stepped_over() -> None:
    table = box(b"free", bytes(20 << 20))
    at = HEAD.index(b"moov")
    (size,) = struct.unpack_from(">L", HEAD, at - 4)
    data = HEAD[: at - 4] + struct.pack(">L4s", size + len(table), b"moov") + table + HEAD[at + 4 :]
    source = Counted(data)
    video = read(read_video(len(data)), source)
    assert isinstance(video, Video)
    assert video.frames == FRAMES
    assert source.requests == 2
    assert source.bytes < 1 << 20


def box(kind: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">L4s", 8 + len(data) if size is None else size, kind) + data


NESTED = b""
for _ in range(50):
    NESTED = box(b"trak", NESTED)

BAD = {
    "text": b"<html>Not found</html>",
    "one byte": b"\0",
    "no track": box(b"ftyp", b"isom") + box(b"moov"),
    "cut off in the pictures": MOVIE[: len(MOVIE) // 2],
    "cut off in the index": MOVIE[:-100],
    "a box shorter than its header": box(b"moov", box(b"trak", b"", 4)),
    "a box that ends at once": box(b"moov", b"\0\0\0\x01trak"),
    "a box larger than the file": box(b"moov", b"", 1 << 31),
    "very many boxes": box(b"free") * 100_000,
    "very deep boxes": box(b"moov", NESTED),
    "no box of size zero again and again": box(b"moov", b"", 0),
    "only sound": MOVIE.replace(b"vide", b"soun"),
    "no size": MOVIE.replace(struct.pack(">2H", 320, 240), bytes(4)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_videos_are_a_problem(name: str) -> None:
    source = Counted(BAD[name])
    found = read(read_video(len(BAD[name])), source)
    assert isinstance(found, Problem), found
    assert found.code is ProblemCode.VIDEO_UNREADABLE
    assert source.requests <= 502


HEAD = movie({"movflags": "faststart"})


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes_give_a_result(edits: list[tuple[int, int]]) -> None:
    data = bytearray(HEAD)
    for at, byte in edits:
        data[at] = byte
    found = opened(bytes(data))
    assert isinstance(found, Video | Problem)
    if isinstance(found, Video):
        assert found.codec.isprintable()
