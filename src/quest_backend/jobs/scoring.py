"""One recording of the bucket, scored: by range, once per version of its files."""

from dataclasses import dataclass

import structlog

from quest_backend.clock import Clock
from quest_backend.jobs.bucket import StoredRecording, recording, remote
from quest_backend.jobs.local_recordings import Scored
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.range_reads import score_remote
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.recording import MAX_MEMBER_BYTES
from quest_backend.state.qa import QaStore
from quest_backend.storage.records import UploadRecords
from quest_backend.storage.s3 import ObjectChanged, ObjectStore

log = structlog.get_logger()

_REQUEST_S = 30.0
# Headsets send one file after the other.
_PAIR_WAIT_MS = 120_000


@dataclass(frozen=True, slots=True)
class Wait:
    """The recording is not all there yet: look again at ``until_ms`` (Unix ms)."""

    until_ms: int


class Scorer:
    """Scores recordings of one bucket, as many at the same time as ``budget`` has memory for."""

    def __init__(
        self,
        store: ObjectStore,
        results: QaStore,
        uploads: UploadRecords,
        clock: Clock,
        budget: MemoryBudget,
        max_member_bytes: int = MAX_MEMBER_BYTES,
    ) -> None:
        self._store = store
        self._results = results
        self._uploads = uploads
        self._clock = clock
        self._max_member_bytes = max_member_bytes
        self._budget = budget

    async def score(self, session_id: str, found: StoredRecording | None = None) -> Wait | None:
        """Score a recording unless this version of its files was; None when nothing is left to do.

        Args:
            session_id: its folder.
            found: what a listing has shown, to spare the request.

        Raises:
            ObjectStoreUnavailable, StoreUnavailable, ObjectChanged, ShortRead, TimeoutError: try
                again.
        """
        if found is not None:
            try:
                return await self._score(found)
            except ObjectChanged:
                log.info("recording_changed_since_listed", session=session_id)
        return await self._score(await recording(self._store, session_id))

    async def _score(self, found: StoredRecording) -> Wait | None:
        session_id, version = found.session_id, found.fingerprint
        if found.empty:
            return None
        if (await self._results.fingerprints([session_id])).get(session_id) == version:
            return None
        if not found.whole and (until_ms := await self._complete_at(found)):
            return Wait(until_ms)
        scored = await measure(self._store, found, self._budget, self._max_member_bytes)
        put = await self._results.put(scored.session, version, found.modified_ms)
        log.info("recording_scored", session=session_id, result=put.value,
                 score=scored.session["overallQualityScore"])  # fmt: skip
        return None

    async def _complete_at(self, found: StoredRecording) -> int:
        """When to look again for the other file, Unix ms; 0 when it is not coming."""
        now = self._clock.unix_ms()
        if found.modified_ms + _PAIR_WAIT_MS > now:
            # The store's clock may be ahead of ours.
            return min(found.modified_ms, now) + _PAIR_WAIT_MS
        other = FileType.DATA if found.data is None else FileType.VIDEO
        upload_id = await self._uploads.upload_of(found.session_id, other)
        upload = await self._uploads.load(upload_id) if upload_id else None
        coming = upload is not None and upload.state == "uploading"
        return now + _PAIR_WAIT_MS if coming else 0


async def measure(
    store: ObjectStore,
    found: StoredRecording,
    budget: MemoryBudget,
    max_member_bytes: int,
    points: int = 0,
) -> Scored:
    """What a recording of the bucket is; arrays larger than ``max_member_bytes`` are not read.

    ``points`` are those of its timeline; 0 for none.

    Raises:
        ObjectStoreUnavailable, ObjectChanged, ShortRead, TimeoutError: try again.
    """
    session_id = found.session_id
    return await score_remote(
        session_id,
        remote(store, key_of(session_id, FileType.DATA), found.data),
        remote(store, key_of(session_id, FileType.VIDEO), found.video),
        budget,
        request_timeout_s=_REQUEST_S,
        max_member_bytes=max_member_bytes,
        points=points,
    )
