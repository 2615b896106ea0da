"""Timelines of recordings in the bucket: read when they are asked for, and kept for a while.

A timeline is tens of kilobytes and its recording is two small range reads away, so none are stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from quest_backend.jobs import bucket
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.range_reads import RemoteFile, opened_recording
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.recording import Recording
from quest_backend.qa.timeline import Timeline, timeline
from quest_backend.storage.s3 import ObjectStore

# 20 MB at most.
_REMEMBERED = 64
_AT_ONCE = 2
_REQUEST_S = 20.0


@dataclass(frozen=True, slots=True)
class DataFile:
    """A recording's data, and its version."""

    etag: str
    file: RemoteFile


def in_bucket(store: ObjectStore) -> Callable[[str], Awaitable[DataFile | None]]:
    """Finds the data of recordings in the bucket, for ``Timelines``."""

    async def opened(session_id: str) -> DataFile | None:
        data = (await bucket.recording(store, session_id)).data
        file = bucket.remote(store, key_of(session_id, FileType.DATA), data)
        return DataFile(data.etag, file) if data is not None and file is not None else None

    return opened


class Timelines:
    """Reads at most two recordings at a time.

    Args:
        opened: the data file of a session, or None when there is none.
        budget: shared with what else reads recordings in this process.
        max_member_bytes: as for QA.
    """

    def __init__(
        self,
        opened: Callable[[str], Awaitable[DataFile | None]],
        budget: MemoryBudget,
        max_member_bytes: int,
    ) -> None:
        self._opened = opened
        self._budget = budget
        self._max_member_bytes = max_member_bytes
        self._known: OrderedDict[tuple[str, str], Timeline | None] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(self, session_id: str) -> Timeline | None:
        """The timeline; None when there is no recording that can be read.

        Raises:
            TimeoutError, ShortRead, Exception: the bucket is away; ask again.
        """
        async with self._slots:
            found = await self._opened(session_id)
            if found is None:
                return None
            key = (session_id, found.etag)
            if key not in self._known:
                self._known[key] = await self._read(found.file)
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    async def _read(self, file: RemoteFile) -> Timeline | None:
        opened = opened_recording(
            file, self._budget, request_timeout_s=_REQUEST_S,
            max_member_bytes=self._max_member_bytes,
        )  # fmt: skip
        async with opened as recording:
            if not isinstance(recording, Recording):
                return None
            return await asyncio.to_thread(timeline, recording)
