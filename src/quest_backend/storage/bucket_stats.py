"""The bucket's statistics: known for 5 minutes, then read anew while the old ones are served.

One node at a time reads the bucket (a lease in Valkey); what it finds is there for all. Uploads
count from the moment they are finished: each node applies their changes to the last table.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from quest_backend import tasks
from quest_backend.clock import Clock
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.bucket_report import Summary, summary
from quest_backend.storage.s3 import ObjectStoreUnavailable
from quest_backend.storage.stats_records import (
    REMOVED,
    START,
    StatsRecords,
    StatsState,
    TableGone,
)
from quest_backend.storage.tally import Tally, copied

log = structlog.get_logger()

FRESH_MS = 5 * 60 * 1000
_RENEW_S = 2.0
_LOOK_S = 0.2
_LONGEST_PASS_S = 3600.0
# After a pass that failed nobody starts another one unasked for so long.
_PAUSE_MS = (30_000, 45_000)

State = Literal["fresh", "refreshing", "stale", "never"]


class Counts(Protocol):
    """Reads the whole bucket."""

    async def count(self, read: Callable[[int], None]) -> Tally:
        """Every object; ``read`` hears how many more there were."""


class StatsNotReady(Exception):  # noqa: N818 - an answer
    """The bucket is being read for the first time, or could not be; the message says which."""


@dataclass(frozen=True, slots=True)
class StatsStatus:
    """How the statistics are. ``updated_at`` is ISO 8601 UTC, '' for never."""

    state: State
    updated_at: str
    objects_read: int
    error: str


@dataclass(frozen=True, slots=True)
class StatsView:
    """Statistics of one moment; nobody changes them any more."""

    tally: Tally
    summary: Summary


@dataclass(frozen=True, slots=True)
class _Known:
    revision: str
    position: str
    view: StatsView


class BucketStats:
    """One node's part in it."""

    def __init__(self, source: Counts, records: StatsRecords, clock: Clock) -> None:
        self._source = source
        self._records = records
        self._clock = clock
        self._known: _Known | None = None
        self._loading = asyncio.Lock()
        self._pass: asyncio.Task[None] | None = None
        self._objects_read = 0
        self._pause_ms = random.randint(*_PAUSE_MS)  # noqa: S311 - jitter

    async def close(self) -> None:
        """End a pass of ours; its lease is free at once."""
        if self._pass is not None:
            await tasks.end([self._pass])

    async def stored(self, key: str, size: int) -> None:
        """A recording's file is finished."""
        await self._records.note(key, size, self._clock.unix_ms())

    async def removed(self, key: str) -> None:
        """A recording's file was taken back."""
        await self._records.note(key, REMOVED, self._clock.unix_ms())

    async def status(self) -> StatsStatus:
        """How they are now."""
        return self._status(await self._records.state())

    def _status(self, state: StatsState) -> StatsStatus:
        name: State = "fresh"
        if state.refreshing:
            name = "refreshing"
        elif not state.revision:
            name = "never"
        elif state.now_ms - state.updated_ms > FRESH_MS:
            name = "stale"
        updated = self._clock.iso_of(state.updated_ms) if state.updated_ms else ""
        return StatsStatus(name, updated, state.objects_read, state.error)

    async def view(self, wait_s: float) -> StatsView:
        """The statistics with every upload finished so far; waits only for the very first ones.

        Raises:
            StatsNotReady: the first pass is not done in ``wait_s``, or has failed.
            StoreUnavailable: try again.
        """
        state = await self._records.state()
        if state.now_ms - state.updated_ms > FRESH_MS and self._may_start(state):
            await self._start()
        deadline = self._clock.monotonic() + wait_s
        while not state.revision:
            if state.error and not state.refreshing:
                raise StatsNotReady(f"The bucket could not be read: {state.error}")
            if self._clock.monotonic() > deadline:
                raise StatsNotReady(
                    f"The bucket is being read for the first time, {state.objects_read} objects "
                    "so far; try again shortly"
                )
            await self._pause()
            state = await self._records.state()
        return await self._load(state)

    def _may_start(self, state: StatsState) -> bool:
        return not state.refreshing and state.now_ms - state.failed_ms > self._pause_ms

    async def refresh(self, wait_s: float) -> StatsStatus:
        """Read the bucket, or wait for the pass that somebody begins after this call.

        Waits ``wait_s`` at most; the pass goes on after that.

        Raises:
            ObjectStoreUnavailable: the bucket could not be read.
        """
        state = await self._records.state()
        asked_ms, deadline = state.now_ms, self._clock.monotonic() + wait_s
        while state.started_ms < asked_ms and self._clock.monotonic() < deadline:
            if state.failed_ms > asked_ms:
                raise ObjectStoreUnavailable(state.error)
            if not state.refreshing:
                await self._start()
            await self._pause()
            state = await self._records.state()
        return self._status(state)

    async def _pause(self) -> None:
        if self._pass is None or self._pass.done():
            await asyncio.sleep(_LOOK_S)
        else:
            await asyncio.wait([self._pass], timeout=_LOOK_S)

    async def _start(self) -> None:
        """Begin a pass, unless somebody is at it."""
        if self._pass is not None and not self._pass.done():
            return
        owner = await self._records.take_lease()
        if owner is not None:
            self._pass = asyncio.get_running_loop().create_task(
                self._run(owner), name="bucket-statistics"
            )

    async def _run(self, owner: str) -> None:
        """One pass; what goes wrong is said in the state."""
        began = self._clock.monotonic()
        self._objects_read = 0
        renewing = asyncio.get_running_loop().create_task(self._keep(owner, asyncio.current_task()))
        try:
            async with asyncio.timeout(_LONGEST_PASS_S):
                objects = await self._read_all(owner)
        except asyncio.CancelledError:
            await self._fail(owner, "the server that read the bucket was stopped")
            raise
        except (ObjectStoreUnavailable, StoreUnavailable, TimeoutError) as error:
            log.warning("bucket_not_read", reason=str(error))
            await self._fail(owner, str(error) or "reading took longer than an hour")
        except Exception:
            log.exception("bucket_count_failed")
            await self._fail(owner, "internal error")
        else:
            seconds = round(self._clock.monotonic() - began, 3)
            log.info("bucket_read", objects=objects, seconds=seconds)
        finally:
            await tasks.end([renewing])

    async def _fail(self, owner: str, reason: str) -> None:
        # With Valkey away, the lease runs out by itself.
        with contextlib.suppress(StoreUnavailable):
            await self._records.fail(owner, reason)

    async def _read_all(self, owner: str) -> int:
        started_ms = (await self._records.state()).now_ms
        position = await self._records.newest_change()
        tally = await self._source.count(self._progress)
        # What was finished meanwhile may have been listed or not: once more does no harm.
        while changes := await self._records.changes(position):
            for change in changes:
                change.apply(tally)
            position = changes[-1].position
        if not await self._records.save(owner, tally, started_ms, position):
            raise ObjectStoreUnavailable("another server took over")
        return tally.objects

    def _progress(self, objects: int) -> None:
        self._objects_read += objects

    async def _keep(self, owner: str, reading: "asyncio.Task[None] | None") -> None:
        """Renew the lease; a pass that has lost it ends."""
        while True:
            try:
                kept = await self._records.renew(owner, self._objects_read)
            except StoreUnavailable as error:
                log.warning("bucket_lease_not_renewed", reason=str(error))
                kept = True
            if not kept:
                log.warning("bucket_lease_lost")
                if reading is not None:
                    reading.cancel()
                return
            await asyncio.sleep(_RENEW_S)

    async def _load(self, state: StatsState) -> StatsView:
        async with self._loading:
            known = self._known
            if known is None or known.revision != state.revision:
                known = await self._loaded(state)
            self._known = known = await self._with_changes(known, state)
            return known.view

    async def _loaded(self, state: StatsState) -> _Known:
        try:
            tally = await self._records.table(state.revision)
        except TableGone:
            state = await self._records.state()
            try:
                tally = await self._records.table(state.revision)
            except TableGone:
                raise StatsNotReady("The statistics are being replaced; try again") from None
        return await self._made(state.revision, state.position or START, tally, state.updated_ms)

    async def _with_changes(self, known: _Known, state: StatsState) -> _Known:
        changes = await self._records.changes(known.position)
        if not changes:
            return known
        tally = await asyncio.to_thread(copied, known.view.tally)
        newest_ms = state.updated_ms
        while changes:
            for change in changes:
                change.apply(tally)
            newest_ms = max(newest_ms, changes[-1].at_ms)
            position = changes[-1].position
            changes = await self._records.changes(position)
        return await self._made(known.revision, position, tally, newest_ms)

    async def _made(self, revision: str, position: str, tally: Tally, at_ms: int) -> _Known:
        numbers = await asyncio.to_thread(summary, tally, self._clock.iso_of(at_ms))
        return _Known(revision, position, StatsView(tally, numbers))
