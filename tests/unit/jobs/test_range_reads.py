"""Scoring over asynchronous range reads: the same result as on disk, and no stalled loop."""

import asyncio

import numpy as np
import pytest
from recordings import SESSION, Counted, arrays, npz

from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.range_reads import RemoteFile, opened_recording, read_async, score_remote
from quest_backend.qa.ranges import ShortRead, Span, read
from quest_backend.qa.recording import Plan, Recording, plan_recording, read_recording
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
    scored = await score_remote(SESSION, remote.file, None, MemoryBudget(), points=MAX_POINTS)
    local = read(read_recording(len(data)), Counted(data))
    assert scored.session == score_session(SESSION, local, None)
    assert scored.timeline is not None
    assert scored.timeline["points"] == MAX_POINTS
    assert 2 <= remote.most_open <= 4


async def test_missing_files_are_a_result() -> None:
    scored = await score_remote(SESSION, None, None, MemoryBudget())
    codes = {each["code"] for each in scored.session["extended"]["problems"]}
    assert codes == {"MISSING_DATA", "MISSING_VIDEO"}
    empty = await score_remote(SESSION, Remote(b"").file, Remote(b"").file, MemoryBudget())
    codes = {each["code"] for each in empty.session["extended"]["problems"]}
    assert codes == {"NOT_A_ZIP", "VIDEO_UNREADABLE"}
    assert empty.timeline is None


async def test_what_the_source_raises_comes_out_as_it_is() -> None:
    async def refuse(span: Span) -> bytes:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        await score_remote(SESSION, RemoteFile(1000, refuse), None, MemoryBudget())


async def test_a_request_that_hangs_ends_by_its_timeout() -> None:
    async def hang(span: Span) -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(TimeoutError):
        await score_remote(
            SESSION, RemoteFile(1000, hang), None, MemoryBudget(), request_timeout_s=0.01
        )


async def test_a_short_answer_is_an_error_not_a_verdict() -> None:
    async def short(span: Span) -> bytes:
        return b"x"

    with pytest.raises(ShortRead):
        await score_remote(SESSION, RemoteFile(1000, short), None, MemoryBudget())


async def test_recordings_wait_until_there_is_memory_for_them() -> None:
    """As many at a time as fit, however many are asked for."""
    data = npz(arrays(50_000, left_confidence=np.random.default_rng(1).random(50_000)))
    remotes = [Remote(data) for _ in range(6)]
    plan = read(plan_recording(len(data)), Counted(data))
    assert isinstance(plan, Plan)
    budget = MemoryBudget(2 * plan.memory_bytes)
    reading = most = 0
    together = asyncio.Event()

    async def one(remote: Remote) -> None:
        nonlocal reading, most
        async with opened_recording(remote.file, budget, request_timeout_s=5) as recording:
            reading += 1
            most = max(most, reading)
            if reading == 2:
                together.set()
            await asyncio.wait_for(together.wait(), 10)
            await asyncio.sleep(0)
            assert isinstance(recording, Recording)
            reading -= 1

    await asyncio.gather(*(one(remote) for remote in remotes))
    assert most == 2


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
