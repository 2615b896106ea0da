"""Scoring over asynchronous range reads: the same result as on disk, and no stalled loop."""

import asyncio

import numpy as np
import pytest
from recordings import SESSION, Counted, arrays, npz

from quest_backend.jobs.range_reads import RemoteFile, read_async, score_remote
from quest_backend.qa.ranges import ShortRead, Span, read
from quest_backend.qa.recording import read_recording
from quest_backend.qa.score import score_session
from quest_backend.qa.timeline import MAX_POINTS

pytestmark = pytest.mark.asyncio


class Remote:
    """Bytes behind an event loop."""

    def __init__(self, data: bytes) -> None:
        self.source = Counted(data)
        self.open = self.most_open = 0

    @property
    def file(self) -> RemoteFile:
        return RemoteFile(len(self.source.data), self.fetch)

    async def fetch(self, span: Span) -> bytes:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(0)
        self.open -= 1
        return self.source(span)


async def test_the_result_is_that_of_reading_on_disk() -> None:
    frames = 30_000
    made = arrays(frames, left_confidence=np.random.default_rng(1).random(frames))
    joints = np.random.default_rng(2).random((frames, 40), np.float32)
    data = npz({name: value for each, value in made.items()
                for name, value in ((each, value), (f"{each}_more", joints))}, packed=False)  # fmt: skip
    remote = Remote(data)
    scored = await score_remote(SESSION, remote.file, None)
    local = read(read_recording(len(data)), Counted(data))
    assert scored.session == score_session(SESSION, local, None)
    assert scored.timeline is not None
    assert scored.timeline["points"] == MAX_POINTS
    assert 2 <= remote.most_open <= 4


async def test_missing_files_are_a_result() -> None:
    scored = await score_remote(SESSION, None, None)
    codes = {each["code"] for each in scored.session["extended"]["problems"]}
    assert codes == {"MISSING_DATA", "MISSING_VIDEO"}
    empty = await score_remote(SESSION, Remote(b"").file, Remote(b"").file)
    codes = {each["code"] for each in empty.session["extended"]["problems"]}
    assert codes == {"NOT_A_ZIP", "VIDEO_UNREADABLE"}
    assert empty.timeline is None


async def test_what_the_source_raises_comes_out_as_it_is() -> None:
    async def refuse(span: Span) -> bytes:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        await score_remote(SESSION, RemoteFile(1000, refuse), None)


async def test_a_request_that_hangs_ends_by_its_timeout() -> None:
    async def hang(span: Span) -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(TimeoutError):
        await score_remote(SESSION, RemoteFile(1000, hang), None, request_timeout_s=0.01)


async def test_a_short_answer_is_an_error_not_a_verdict() -> None:
    async def short(span: Span) -> bytes:
        return b"x"

    with pytest.raises(ShortRead):
        await score_remote(SESSION, RemoteFile(1000, short), None)


async def test_the_loop_goes_on_while_a_large_recording_is_scored() -> None:
    frames = 2_000_000
    remote = Remote(npz(arrays(frames)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    counting = asyncio.create_task(count())
    scored = await read_async(read_recording(remote.file.size), remote.fetch, 5)
    counting.cancel()
    assert scored is not None
    assert turns > 5
