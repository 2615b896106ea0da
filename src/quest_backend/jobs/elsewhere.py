"""The stores of a server, for a process beside it: named by settings, or run by that server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quest_backend import addresses
from quest_backend.clock import Clock
from quest_backend.jobs.service import QaJobs
from quest_backend.settings import Settings
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.valkey import StoreUnavailable, Valkey
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.s3 import ObjectStore, ObjectStoreUnavailable
from quest_backend.storage.service import object_store


class NotReachable(Exception):  # noqa: N818 - an answer for the user
    """A store cannot be used; the message says which one and what to do."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Opened stores, and QA's jobs over them."""

    valkey: Valkey
    bucket: ObjectStore
    jobs: QaJobs


@asynccontextmanager
async def bucket_of(settings: Settings, name: str = "") -> AsyncIterator[ObjectStore]:
    """The bucket that a server with these settings uses, or another one of the same store.

    Raises:
        NotReachable: it cannot be read.
    """
    child = EmbeddedS3(settings.data_dir) if settings.embeds_s3 else None
    if child is not None:
        try:
            child.known()
        except OSError:
            raise NotReachable(
                f"no server has run in {settings.data_dir}; name its --data-dir, or set "
                "S3_ENDPOINT_URL"
            ) from None
    store = object_store(settings, child, name)
    await store.open()
    try:
        await store.ping()
        yield store
    except ObjectStoreUnavailable as error:
        raise NotReachable(str(error)) from None
    finally:
        await store.close()


@asynccontextmanager
async def stores_of(settings: Settings) -> AsyncIterator[Stores]:
    """Valkey and the bucket of the server with these settings, which may be on another machine.

    Raises:
        NotReachable: one of them cannot be used.
    """
    url = settings.redis_url or EmbeddedValkey(settings.data_dir).running_url
    valkey = Valkey(url, settings.redis_timeout_ms / 1000)
    try:
        await valkey.ping()
        async with bucket_of(settings) as bucket:
            yield Stores(valkey, bucket, QaJobs(settings, url, valkey, bucket, Clock()))
    except StoreUnavailable:
        raise NotReachable(
            f"Valkey at {addresses.shown(settings.redis_url)} does not answer"
            if settings.redis_url
            else f"no server runs in {settings.data_dir}; start it, or set REDIS_URL"
        ) from None
    finally:
        await valkey.close()
