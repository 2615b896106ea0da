"""Running readers on an event loop: ranges are fetched by tasks, everything else in a thread."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic

from quest_backend.jobs.local_recordings import Scored
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.qa.problems import Problem
from quest_backend.qa.ranges import Reads, Span, T, checked
from quest_backend.qa.recording import (
    MAX_MEMBER_BYTES,
    Recording,
    Unreadable,
    missing,
    plan_recording,
    read_planned,
)
from quest_backend.qa.score import score_session
from quest_backend.qa.timeline import timeline
from quest_backend.qa.video import MOST_HELD_BYTES, Video, read_video

AsyncFetch = Callable[[Span], Awaitable[bytes]]

# Requests of one recording at the same time.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file somewhere else: its size in bytes, and how to get a range of it.

    ``fetch`` has to give ranges of one version of the file (S3: ``If-Match`` with its ETag), and
    raises what its source raises.
    """

    size: int
    fetch: AsyncFetch


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    result: T


async def read_async(reads: Reads[T], fetch: AsyncFetch, request_timeout_s: float) -> T:
    """Run a reader; its own work is done in a thread, so that the loop goes on.

    Raises:
        TimeoutError: a request took longer than ``request_timeout_s``.
        ShortRead: the source gave another number of bytes than asked for.
        Exception: what ``fetch`` raises.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def fetched(span: Span) -> bytes:
        async with slots, asyncio.timeout(request_timeout_s):
            return checked(span, await fetch(span))

    step = await asyncio.to_thread(_advance, reads, None)
    while not isinstance(step, _Done):
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetched(span)) for span in step]
        except* Exception as errors:  # noqa: BLE001 - the first is passed on as it came
            raise _first(errors) from None
        step = await asyncio.to_thread(_advance, reads, tuple(task.result() for task in tasks))
    return step.result


def _first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _advance(reads: Reads[T], data: tuple[bytes, ...] | None) -> tuple[Span, ...] | _Done[T]:
    # A StopIteration cannot leave a thread through a future.
    try:
        return next(reads) if data is None else reads.send(data)
    except StopIteration as done:
        return _Done(done.value)


@asynccontextmanager
async def opened_recording(
    file: RemoteFile | None,
    budget: MemoryBudget,
    *,
    request_timeout_s: float,
    max_member_bytes: int = MAX_MEMBER_BYTES,
    beside_bytes: int = 0,
) -> AsyncIterator[Recording | Unreadable]:
    """A recording that is read when ``budget`` has room for it, and for ``beside_bytes`` more.

    The room is given back at the end of the block.

    Raises:
        TimeoutError, ShortRead, Exception: as ``read_async``.
    """
    if file is None:
        async with budget.take(beside_bytes):
            yield missing()
        return
    planning = plan_recording(file.size, max_member_bytes)
    plan = await read_async(planning, file.fetch, request_timeout_s)
    wanted = 0 if isinstance(plan, Unreadable) else plan.memory_bytes
    async with budget.take(wanted + beside_bytes):
        if isinstance(plan, Unreadable):
            yield plan
        else:
            yield await read_async(read_planned(plan), file.fetch, request_timeout_s)


async def score_remote(
    session_id: str,
    data: RemoteFile | None,
    video: RemoteFile | None,
    budget: MemoryBudget,
    *,
    request_timeout_s: float = 30,
    max_member_bytes: int = MAX_MEMBER_BYTES,
    points: int = 0,
) -> Scored:
    """Score one session whose files are somewhere else; None for a file that is not there.

    What is wrong with the files is in the result. ``points`` are those of its timeline; 0 for none.

    Raises:
        TimeoutError, ShortRead: as ``read_async``; nothing is known then, try again.
        Exception: what a ``fetch`` raises.
    """
    beside = min(video.size, MOST_HELD_BYTES) if video is not None else 0
    opened = opened_recording(
        data, budget, request_timeout_s=request_timeout_s,
        max_member_bytes=max_member_bytes, beside_bytes=beside,
    )  # fmt: skip
    async with opened as recording:
        film = await _video(video, request_timeout_s)
        session = await asyncio.to_thread(score_session, session_id, recording, film)
        if not points or not isinstance(recording, Recording):
            return Scored(session, None)
        return Scored(session, await asyncio.to_thread(timeline, recording, points))


async def _video(video: RemoteFile | None, request_timeout_s: float) -> Video | Problem | None:
    if video is None:
        return None
    return await read_async(read_video(video.size), video.fetch, request_timeout_s)
