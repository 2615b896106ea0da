"""What tests of uploads share: seconds that nobody else uses, and a look into the store."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from support import Server

from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.presign import Presigner
from quest_backend.storage.s3 import ObjectStore

_seconds: Iterator[int] = itertools.count(0, 1000)


def new_time() -> str:
    """A second that no other test uses, nor a second near it."""
    moment = datetime(2026, 2, 6, tzinfo=UTC) + timedelta(seconds=next(_seconds))
    return f"{moment:%Y%m%d_%H%M%S}"


async def stored(server: Server, key: str) -> bytes | None:
    """The object, read from the store itself."""
    child = EmbeddedS3(server.data_dir)
    credentials, endpoint = child.known()
    url = Presigner(credentials, embedded.REGION).url(
        "GET", endpoint, f"/turing-robotics-datahub/{key}", {}, datetime.now(UTC), 60
    )
    async with httpx.AsyncClient() as plain:
        reply = await plain.get(url)
    return None if reply.status_code == 404 else reply.content


@asynccontextmanager
async def bucket(data_dir: Path) -> AsyncIterator[ObjectStore]:
    """The store of a running server, by its own credentials."""
    credentials, endpoint = EmbeddedS3(data_dir).known()
    store = ObjectStore("turing-robotics-datahub", embedded.REGION, endpoint, credentials)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def removed(server: Server, key: str) -> None:
    """Delete an object from the store itself."""
    async with bucket(server.data_dir) as store:
        await store.delete(key)
