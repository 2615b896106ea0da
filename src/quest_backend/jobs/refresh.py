"""A refresh: the bucket is listed, and what is new in it becomes jobs.

It goes in steps of some hundred new recordings, each a job of its own that ends with putting the
next one behind them: the queue stays short, and a worker that dies loses a step at most.
"""

import structlog

from quest_backend.jobs.bucket import StoredRecording, pages
from quest_backend.jobs.queue import QaQueue
from quest_backend.state.qa import QaStore
from quest_backend.storage.s3 import ObjectStore

log = structlog.get_logger()

# What a finished upload may have to wait for.
_STEP_JOBS = 500
# A step ends too after so many recordings that are known: its lease is short.
_STEP_RECORDINGS = 50_000


class Refresher:
    """Does the steps of refreshes."""

    def __init__(self, store: ObjectStore, results: QaStore, queue: QaQueue) -> None:
        self._store = store
        self._results = results
        self._queue = queue

    async def step(self, refresh_id: str, after: str) -> None:
        """Go on behind the folder ``after``.

        Raises:
            ObjectStoreUnavailable, StoreUnavailable: try again; nothing is done twice.
        """
        submitted = listed = 0
        async for page in pages(self._store, after):
            new = await self._new(page)
            await self._queue.submit_found(new)
            if not await self._queue.note_refresh(refresh_id, len(page), "listing"):
                return  # another one has taken its place
            submitted += len(new)
            listed += len(page)
            if submitted >= _STEP_JOBS or listed >= _STEP_RECORDINGS:
                await self._queue.go_on(refresh_id, page[-1].session_id)
                return
        await self._queue.note_refresh(refresh_id, 0, "listed")
        log.info("bucket_listed", refresh=refresh_id)

    async def _new(self, page: list[StoredRecording]) -> list[StoredRecording]:
        known = await self._results.fingerprints([each.session_id for each in page])
        return [each for each in page if known.get(each.session_id) != each.fingerprint]
