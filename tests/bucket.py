"""A real bucket for tests of QA's jobs, and recordings in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.s3 import ObjectStore

BUCKET = "turing-robotics-datahub"
_FIRST = datetime(2026, 2, 6, 14, 30, 52, tzinfo=UTC)


def session_ids(count: int) -> list[str]:
    """Folders a minute apart, in order."""
    return [f"{_FIRST + timedelta(minutes=number):%Y%m%d_%H%M%S}" for number in range(count)]


@asynccontextmanager
async def opened_store(data_dir: Path) -> AsyncIterator[ObjectStore]:
    """The running embedded store of ``data_dir``."""
    credentials, endpoint = EmbeddedS3(data_dir).known()
    store = ObjectStore(BUCKET, embedded.REGION, endpoint, credentials)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def own_store(data_dir: Path) -> AsyncIterator[ObjectStore]:
    """A store of the test's own, with an empty bucket."""
    child = EmbeddedS3(data_dir)
    await child.start()
    try:
        async with opened_store(data_dir) as store:
            await store.make_bucket()
            yield store
    finally:
        await child.stop()


async def put(store: ObjectStore, session_id: str, file_type: FileType, body: bytes) -> str:
    """Write an object; its ETag."""
    key = key_of(session_id, file_type)
    upload_id = await store.begin(key, "application/octet-stream", {})
    part = await store.put_part(key, upload_id, 1, body)
    return await store.complete(key, upload_id, [part])


async def put_recordings(store: ObjectStore, ids: list[str], data: bytes, video: bytes) -> None:
    """Both files of many recordings."""
    slots = asyncio.Semaphore(16)

    async def one(session_id: str) -> None:
        async with slots:
            await put(store, session_id, FileType.DATA, data)
            await put(store, session_id, FileType.VIDEO, video)

    await asyncio.gather(*(one(session_id) for session_id in ids))
