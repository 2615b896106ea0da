"""``quest-backend qa`` of what is in the bucket: one recording, or everything that is new."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quest_backend.jobs.bucket import recording
from quest_backend.jobs.elsewhere import NotReachable, Stores, bucket_of, stores_of
from quest_backend.jobs.local_recordings import NoRecordings, Scored
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.queue import Refreshing
from quest_backend.jobs.scoring import measure
from quest_backend.protocol.recordings import PREFIX, is_folder
from quest_backend.qa.ranges import ShortRead
from quest_backend.settings import Settings
from quest_backend.storage.s3 import ObjectChanged

_SCHEME = "s3://"
_LOOK_S = 0.25
# So long nothing has moved: nobody works.
_PATIENCE_S = 30.0
_SHOWN_DEAD = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A recording in a bucket; '' for the bucket of the settings."""

    bucket: str
    session_id: str


def place_of(target: str) -> Place | None:
    """Where in a bucket ``target`` is; None when it is a path.

    Raises:
        NoRecordings: an S3 address of something else than a recording.
    """
    if not target.startswith(_SCHEME):
        here = not is_folder(target) or Path(target).exists()
        return None if here else Place("", target)
    bucket, _, key = target.removeprefix(_SCHEME).partition("/")
    session_id = key.removeprefix(PREFIX).partition("/")[0]
    if not bucket or not key.startswith(PREFIX) or not is_folder(session_id):
        raise NoRecordings(f"{target}: not a recording; s3://BUCKET/sessions/YYYYMMDD_HHMMSS is")
    return Place(bucket, session_id)


def score(config: Settings, place: Place, points: int) -> Scored:
    """Read a recording by range, and measure it.

    Raises:
        NoRecordings: it is not there.
        NotReachable: the store cannot be read.
    """
    return asyncio.run(_score(config, place, points))


async def _score(config: Settings, place: Place, points: int) -> Scored:
    async with bucket_of(config, place.bucket) as bucket:
        found = await recording(bucket, place.session_id)
        if found.empty:
            raise NoRecordings(f"there is no recording {place.session_id} in {bucket.bucket}")
        try:
            return await measure(bucket, found, MemoryBudget(), config.qa_max_member_bytes, points)
        except (ObjectChanged, ShortRead, TimeoutError) as error:
            raise NotReachable(f"{place.session_id} cannot be read: {error}; try again") from None


def refresh(config: Settings, out: Console, err: Console) -> bool:
    """Let the workers score what is new, and show how far they are; False when some failed.

    Raises:
        NotReachable: Valkey or the bucket cannot be used, or nobody works.
    """
    return asyncio.run(_refresh(config, out, err))


async def _refresh(config: Settings, out: Console, err: Console) -> bool:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    async with stores_of(config) as stores:
        if not await stores.jobs.queue.request_refresh():
            err.print("A refresh is under way; this shows how far it is.", highlight=False)
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("Listing", total=None)
            async for now in _followed(stores):
                bar.update(task, description="Scoring" if now.total else "Listing",
                           completed=now.read, total=now.total or None)  # fmt: skip
        return await _tell(stores, out)


async def _followed(stores: Stores) -> AsyncIterator[Refreshing]:
    loop = asyncio.get_running_loop()
    last, since = None, loop.time()
    while True:
        now = await stores.jobs.queue.progress()
        if now.refreshing is None:
            return
        if (now.queued, now.done, now.running) != last or now.running:
            last, since = (now.queued, now.done, now.running), loop.time()
        elif loop.time() - since > _PATIENCE_S:
            raise NotReachable(
                "nobody does the jobs: start `quest-backend worker`, or the server with "
                "QA_CONCURRENCY above 0; they wait in the queue"
            )
        yield now.refreshing
        await asyncio.sleep(_LOOK_S)


async def _tell(stores: Stores, out: Console) -> bool:
    totals, _ = await stores.jobs.results.totals()
    dead = await stores.jobs.queue.dead()
    out.print(
        f"{totals.sessions} recordings measured: {totals.complete} complete, "
        f"{totals.with_issues} with a score below 80",
        highlight=False,
    )
    for job in dead[:_SHOWN_DEAD]:
        out.print(f"  {job.id}: {job.error}", markup=False, highlight=False, soft_wrap=True)
    if len(dead) > _SHOWN_DEAD:
        out.print(f"  and {len(dead) - _SHOWN_DEAD} more that could not be read")
    return not dead
