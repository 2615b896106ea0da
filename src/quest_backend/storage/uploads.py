"""Uploads in parts: begun, watched, completed exactly once or aborted.

A recording is never half there: the object appears when all its parts are, and only by the device
that its folder belongs to. Every step can be repeated after a lost answer or a killed server.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from quest_backend.clock import Clock
from quest_backend.metrics import Metrics
from quest_backend.protocol.limits import MAX_CHUNKED_FILE_BYTES
from quest_backend.protocol.recordings import CONTENT_TYPES, FileType, PartPlan, plan
from quest_backend.storage.bucket_stats import BucketStats
from quest_backend.storage.checks import (
    Algorithm,
    Checksum,
    GivenPart,
    PartsWrong,
    check_parts,
    newest,
    store_sums,
)
from quest_backend.storage.folders import (
    ASKED_META,
    DEVICE_META,
    UPLOAD_META,
    Folders,
    NoFolder,
)
from quest_backend.storage.linkage import session_of
from quest_backend.storage.records import (
    SessionPart,
    State,
    UploadBusy,
    UploadRecord,
    UploadRecords,
)
from quest_backend.storage.refusals import Refusal, UploadRefused
from quest_backend.storage.s3 import (
    NoSuchUpload,
    ObjectStore,
    ObjectStoreUnavailable,
    Part,
    PartsRefused,
    StoredObject,
    SumsDiffer,
)
from quest_backend.storage.upload_types import Completed, Owner, Started, UploadOptions

log = structlog.get_logger()

_CLAIM_TRIES = 5


class Uploads:
    """The uploads of this node; records and store are shared with the others.

    ``changed`` hears of every change in a session's part, and must not block. ``check_room`` raises
    ObjectStoreFull when so many more bytes do not fit. ``stored`` hears of the folder of every file
    that is whole; when it raises, the client is told to try again.
    """

    def __init__(
        self,
        store: ObjectStore,
        records: UploadRecords,
        clock: Clock,
        metrics: Metrics,
        options: UploadOptions,
        changed: Callable[[SessionPart], Awaitable[None]],
        stats: BucketStats,
        check_room: Callable[[int], None],
        stored: Callable[[str], Awaitable[object]],
    ) -> None:
        self.store = store
        self.records = records
        self.options = options
        self.folders = Folders(store, records)
        self._clock = clock
        self._metrics = metrics
        self._changed = changed
        self._stats = stats
        self.check_room = check_room
        self._stored = stored

    async def start(
        self, owner: Owner, asked: str, file_type: FileType, file_bytes: int, endpoint: str,
        session_id: str = "",
    ) -> Started:  # fmt: skip
        """Begin an upload, or go on with the same device's unfinished one of the same size.

        Args:
            owner: whose recording it is.
            asked: the folder asked for, ``YYYYMMDD_HHMMSS``.
            file_type: which file of the recording.
            file_bytes: its exact size.
            endpoint: where the client can reach the store.
            session_id: the capture session, where the client knows it.

        Raises:
            UploadRefused: a size out of bounds, or no folder.
            ObjectStoreUnavailable, StoreUnavailable: try again.
        """
        parts = self._plan(file_bytes)
        try:
            folder = await self.folders.reserve(owner.device_id, asked)
        except NoFolder as error:
            raise UploadRefused(Refusal.CONFLICT, str(error)) from None
        draft = UploadRecord(
            upload_id="",
            folder=folder,
            file_type=file_type,
            device_id=owner.device_id,
            asked=asked,
            plan=parts,
            nonce=secrets.token_hex(12),
            started_ms=self._clock.unix_ms(),
            session_id=await self.session_for(owner.device_id, asked, session_id),
        )
        record = await self._claim(draft)
        await self._tell(*await self.records.note(record.upload_id, begun_ms=self.now_ms()))
        log.info(
            "upload_started", upload=record.upload_id[:16], key=record.key,
            device=owner.device_id, bytes=file_bytes, parts=parts.parts,
        )  # fmt: skip
        return Started(record, await self._signer(record, endpoint))

    def _plan(self, file_bytes: int) -> PartPlan:
        if file_bytes < 1:
            raise UploadRefused(Refusal.INVALID, "fileSize: at least 1 byte")
        if file_bytes > MAX_CHUNKED_FILE_BYTES:
            raise UploadRefused(
                Refusal.TOO_LARGE, f"fileSize: at most {MAX_CHUNKED_FILE_BYTES} bytes (100 GiB)"
            )
        return plan(file_bytes, self.options.chunk_bytes, self.options.max_parts)

    async def _claim(self, draft: UploadRecord) -> UploadRecord:
        for _ in range(_CLAIM_TRIES):
            before = await self.records.upload_of(draft.folder, draft.file_type)
            old = await self.records.load(before) if before else None
            if old is not None and await self._resumable(old, draft.plan):
                return old
            upload_id = await self.store.begin(
                draft.key,
                CONTENT_TYPES[draft.file_type],
                {
                    DEVICE_META: draft.device_id,
                    ASKED_META: draft.asked,
                    UPLOAD_META: draft.nonce,
                },
            )
            record = replace(draft, upload_id=upload_id)
            if await self._replace(old, before, record):
                return record
            # The same headset asked twice at once; the other request was first.
            await self.store.abort(draft.key, upload_id)
        raise UploadRefused(Refusal.BUSY, "This file is being started elsewhere; try again")

    async def _replace(self, old: UploadRecord | None, before: str, record: UploadRecord) -> bool:
        """Put ``record`` in the place of ``before``, which was read as ``old``; False if beaten."""
        if not await self.records.claim(record, before):
            return False
        if old is not None and old.state == "uploading":
            await self.store.abort(old.key, old.upload_id)
        return True

    async def _resumable(self, old: UploadRecord, wanted: PartPlan) -> bool:
        if old.state != "uploading" or old.plan != wanted:
            return False
        try:
            await self.store.parts(old.key, old.upload_id, at_most=1)
        except NoSuchUpload:
            return False
        return True

    async def session_for(self, device_id: str, asked: str, named: str) -> str:
        """The id of the session that a recording belongs to, '' for none."""
        sessions = await self.records.sessions_of(device_id)
        return session_of(sessions, asked, named, self.now_ms() / 1000)

    async def take_over(self, record: UploadRecord) -> UploadRecord:
        """Make a whole upload the one of its file, instead of any before it."""
        for _ in range(_CLAIM_TRIES):
            before = await self.records.upload_of(record.folder, record.file_type)
            old = await self.records.load(before) if before else None
            if await self._replace(old, before, record):
                return record
        raise UploadRefused(Refusal.BUSY, "This file is being started elsewhere; try again")

    async def give_up(self, record: UploadRecord) -> None:
        """This upload has failed, and the store has nothing of it."""
        self._metrics.upload_errors.labels("failed").inc()
        await self._end(record, "failed")

    async def delete(self, record: UploadRecord) -> None:
        """Take back an object that this upload has just made."""
        await self.store.delete(record.key)
        await self._stats.removed(record.key)

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._clock.unix_ms()

    async def _signer(self, record: UploadRecord, endpoint: str) -> Callable[[int], str]:
        signer = await self.store.presigner()
        return signer.part_url(
            endpoint,
            self.store.bucket,
            record.key,
            record.upload_id,
            self._now(),
            self.options.url_expiry_s,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC)

    async def _mine(
        self, owner: Owner, upload_id: str, key: str, *, or_aborted: bool = False
    ) -> UploadRecord:
        record = await self.records.load(upload_id)
        gone = record is not None and record.state == "aborted" and not or_aborted
        if record is None or record.key != key or gone:
            raise UploadRefused(Refusal.NOT_FOUND, "Upload not found")
        if record.device_id != owner.device_id and not owner.may_all:
            raise UploadRefused(Refusal.FORBIDDEN, "This upload is another device's")
        return record

    async def status(self, owner: Owner, upload_id: str, key: str) -> list[Part]:
        """The parts that the store has.

        Raises:
            UploadRefused: no such unfinished upload, or another device's.
        """
        record = await self._mine(owner, upload_id, key)
        try:
            stored = newest(await self.store.parts(key, upload_id))
        except NoSuchUpload:
            raise UploadRefused(Refusal.NOT_FOUND, _ENDED) from None
        if record.state == "uploading":
            total = sum(part.size for part in stored)
            await self._tell(*await self.records.note(upload_id, stored_bytes=total))
        return stored

    async def part_url(
        self, owner: Owner, upload_id: str, key: str, number: int, endpoint: str
    ) -> str:
        """A fresh URL for one part.

        Raises:
            UploadRefused: no such unfinished upload, another device's, or no such part.
        """
        record = await self._mine(owner, upload_id, key)
        if record.state != "uploading":
            raise UploadRefused(Refusal.NOT_FOUND, _ENDED)
        if not 1 <= number <= record.plan.parts:
            raise UploadRefused(
                Refusal.INVALID, f"partNumber: 1 to {record.plan.parts} for this upload"
            )
        return (await self._signer(record, endpoint))(number)

    async def complete(
        self, owner: Owner, upload_id: str, key: str, given: list[GivenPart],
        checksum: Checksum | None = None,
    ) -> Completed:  # fmt: skip
        """Make the object. Again after success is success again.

        Raises:
            UploadRefused: parts are missing or wrong (nothing is lost; the client can go on), no
                such upload, another device's, or somebody else is at it.
        """
        async with self._alone(upload_id):
            record = await self._mine(owner, upload_id, key)
            if record.state == "completed":
                return self._completed(record)
            try:
                stored = await self.store.parts(key, upload_id)
                parts = check_parts(record.plan, stored, given)
                etag = await self.store.complete(
                    key, upload_id, parts, *store_sums(given, checksum)
                )
            except NoSuchUpload:
                etag = await self._made_before(record)
            except (PartsWrong, PartsRefused) as error:
                differ = isinstance(error, SumsDiffer)
                self._metrics.upload_errors.labels("checksum" if differ else "invalid_parts").inc()
                more = error.more if isinstance(error, PartsWrong) else {}
                raise UploadRefused(Refusal.INVALID, str(error), **more) from None
            return await self.finish(record, etag, checksum)

    async def _made_before(self, record: UploadRecord) -> str:
        """The ETag of the object, if this upload has made it: the answer was lost."""
        stored = await self.store.head(record.key)
        if stored is None or stored.metadata.get(UPLOAD_META) != record.nonce:
            await self._end(record, "failed")
            raise UploadRefused(Refusal.NOT_FOUND, _ENDED)
        return stored.etag

    async def finish(self, record: UploadRecord, etag: str, checksum: Checksum | None) -> Completed:
        """Look at the object that was made, and remember it.

        Raises:
            UploadRefused: it is not what the client sent; it is gone again.
        """
        stored = await self.store.head(record.key)
        if stored is None:
            raise ObjectStoreUnavailable("the store lost the object that it has just made")
        verified = await self._verify(record, stored, checksum)
        # Before the upload counts as completed: what fails until then, the client repeats.
        await self._stats.stored(record.key, stored.size)
        await self._stored(record.folder)
        await self._end(record, "completed", etag=etag, checksum=verified)
        seconds = (self._clock.unix_ms() - record.started_ms) / 1000
        kind = str(record.file_type)
        self._metrics.upload_duration.labels(kind).observe(seconds)
        self._metrics.upload_size.labels(kind).observe(record.plan.file_bytes)
        self._metrics.upload_bytes.labels(kind).inc(record.plan.file_bytes)
        log.info("upload_completed", key=record.key, device=record.device_id, seconds=seconds)
        return self._completed(replace(record, state="completed", etag=etag))

    async def _verify(
        self, record: UploadRecord, stored: StoredObject, given: Checksum | None
    ) -> str:
        """The checksum to remember: what the client gave, else what the store added up.

        Raises:
            UploadRefused: the object is not what the client sent; it is gone again.
        """
        theirs = stored.checksum(given.algorithm) if given else ""
        right_size = stored.size == record.plan.file_bytes
        if right_size and (given is None or not theirs or theirs == given.value):
            own = stored.checksum(Algorithm.CRC64NVME)
            return str(given or (Checksum(Algorithm.CRC64NVME, own) if own else ""))
        await self.delete(record)
        await self._end(record, "failed")
        self._metrics.upload_errors.labels("checksum").inc()
        what = "checksum" if right_size else "size"
        raise UploadRefused(
            Refusal.INVALID, f"{what}: the store has other bytes than were sent; start again"
        )

    async def _end(self, record: UploadRecord, state: State, **fields: str) -> None:
        await self._tell(*await self.records.note(record.upload_id, state=state, fields=fields))

    def _completed(self, record: UploadRecord) -> Completed:
        return Completed(record, self.store.bucket)

    async def abort(self, owner: Owner, upload_id: str, key: str) -> None:
        """Throw an upload away; again is fine.

        Raises:
            UploadRefused: no such upload, another device's, or a finished recording.
        """
        async with self._alone(upload_id):
            record = await self._mine(owner, upload_id, key, or_aborted=True)
            if record.state == "completed":
                raise UploadRefused(Refusal.CONFLICT, "This upload is complete")
            await self.store.abort(key, upload_id)
            await self._end(record, "aborted")
            self._metrics.upload_errors.labels("aborted").inc()
            log.info("upload_aborted", key=key, device=record.device_id)

    async def part_stored(self, upload_id: str, number: int, size: int) -> None:
        """The store has taken a part that came through this server."""
        await self._tell(*await self.records.note(upload_id, part=(number, size)))

    async def _tell(self, open_: bool, part: SessionPart | None) -> None:
        if open_ and part is not None:
            await self._changed(part)

    @asynccontextmanager
    async def _alone(self, upload_id: str) -> AsyncIterator[None]:
        """``records.alone``, with the refusal that a client gets."""
        try:
            async with self.records.alone(upload_id):
                yield
        except UploadBusy:
            raise UploadRefused(
                Refusal.BUSY, "This upload is being completed or aborted; try again"
            ) from None


_ENDED = "Upload not found: it was completed, aborted or has expired"
