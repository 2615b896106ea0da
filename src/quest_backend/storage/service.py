"""The object store in use, and the uploads into it: opened at start, watched, closed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from quest_backend import tasks
from quest_backend.clock import Clock
from quest_backend.metrics import Metrics
from quest_backend.protocol.payloads import UploadState
from quest_backend.settings import Settings
from quest_backend.state.sessions import SessionStore
from quest_backend.state.valkey import StoreUnavailable, Valkey
from quest_backend.storage import embedded
from quest_backend.storage.bucket_stats import BucketStats
from quest_backend.storage.cleanup import clean_up, poll_progress
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.listing import BucketListing
from quest_backend.storage.presign import Credentials
from quest_backend.storage.progress import UploadProgress
from quest_backend.storage.records import UploadRecords
from quest_backend.storage.s3 import ObjectStore, ObjectStoreFull, ObjectStoreUnavailable
from quest_backend.storage.stats_records import StatsRecords
from quest_backend.storage.upload_types import UploadOptions
from quest_backend.storage.uploads import Uploads

log = structlog.get_logger()

_POLL_S = 2.0
# For the store's own books, so that what is finished stays readable.
_RESERVE_BYTES = 32 * 1024 * 1024


def embedded_store(settings: Settings, data_dir: Path) -> EmbeddedS3 | None:
    """The embedded store, or None when the settings name another."""
    return EmbeddedS3(data_dir) if settings.embeds_s3 else None


class Storage:
    """One node's storage. ``child`` is the embedded store, already started, or None."""

    def __init__(
        self,
        settings: Settings,
        child: EmbeddedS3 | None,
        valkey: Valkey,
        sessions: SessionStore,
        clock: Clock,
        metrics: Metrics,
        changed: Callable[[str, str, UploadState, int, int], Awaitable[None]],
        stored: Callable[[str], Awaitable[object]],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self.child = child
        self.store = object_store(settings, child)
        expiry_s = settings.upload_expiry_hours * 3600
        self.progress = UploadProgress(valkey)
        self.records = UploadRecords(valkey, sessions, clock, expiry_s)
        self.stats = BucketStats(BucketListing(self.store), StatsRecords(valkey), clock)
        self.uploads = Uploads(
            self.store,
            self.records,
            clock,
            metrics,
            UploadOptions(
                chunk_bytes=settings.upload_chunk_size_mb * 1024 * 1024,
                max_parts=settings.upload_max_chunks,
                url_expiry_s=settings.presigned_url_expiry_seconds,
                expiry_s=expiry_s,
            ),
            lambda part: changed(
                part.session_id, part.device_id, part.status, part.progress, part.revision
            ),
            self.stats,
            self.check_room,
            stored,
        )
        self._loops: list[asyncio.Task[None]] = []

    @property
    def passes_through(self) -> bool:
        """Whether clients reach the store through this server's own port."""
        return self.child is not None

    def endpoint_for(self, own_url: str) -> str:
        """Where a client reaches the store, that reached this server at ``own_url``."""
        public = self._settings.s3_public_endpoint_url
        if public:
            return public.rstrip("/")
        return own_url if self.passes_through else self.store.endpoint

    def check_room(self, size: int) -> None:
        """Whether the embedded store's disk has room for ``size`` more bytes.

        Raises:
            ObjectStoreFull: it has not, with some left for what is finished.
        """
        if self.child is None:
            return
        free = self.child.free_bytes() - _RESERVE_BYTES
        if size > free:
            raise ObjectStoreFull(
                f"the object store is full: {size} bytes do not fit into {max(0, free)}"
            )

    async def open(self) -> None:
        """Connect, and see that the bucket can be used.

        Raises:
            BucketError: it cannot; one line that says why.
        """
        await self.store.open()
        if self.child is not None:
            await self.store.make_bucket()
        await self.store.check()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._clean(), name="upload-cleanup"),
            loop.create_task(self._poll(), name="upload-progress"),
        ]

    async def close(self) -> None:
        """Stop watching and disconnect."""
        await tasks.end(self._loops)
        await self.stats.close()
        await self.store.close()

    async def refresh_gauges(self) -> None:
        """Read what gauges need; the last known when the records are away."""
        try:
            self._metrics.uploads_in_progress = await self.records.count_open()
        except StoreUnavailable as error:
            log.warning("uploads_not_counted", reason=str(error))

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(self._settings.session_cleanup_interval_ms / 1000)
            try:
                await clean_up(self.uploads, self._clock.unix_ms())
            except (ObjectStoreUnavailable, StoreUnavailable) as error:
                log.warning("upload_cleanup_put_off", reason=str(error))

    async def _poll(self) -> None:
        """Parts that go straight to an outside store pass by unseen: ask how far they are."""
        while not self.passes_through:
            await asyncio.sleep(_POLL_S)
            try:
                await poll_progress(self.uploads, _POLL_S)
            except (ObjectStoreUnavailable, StoreUnavailable) as error:
                log.warning("upload_progress_unknown", reason=str(error))


def object_store(settings: Settings, child: EmbeddedS3 | None, bucket: str = "") -> ObjectStore:
    """The store that the settings name; of ``child``, which is started or ``known``, if there is.

    ``bucket``: another one than that of the settings.
    """
    name = bucket or settings.s3_bucket_name
    if child is not None:
        return ObjectStore(name, embedded.REGION, child.endpoint, child.credentials, asks_sums=True)
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key
    given = None
    if key is not None and secret is not None:
        token = settings.aws_session_token
        given = Credentials(
            key.get_secret_value(),
            secret.get_secret_value(),
            token.get_secret_value() if token else "",
        )
    return ObjectStore(name, settings.aws_region, settings.s3_endpoint_url, given)
