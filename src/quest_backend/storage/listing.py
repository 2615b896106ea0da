"""Every object of the bucket, counted: several listings side by side, in small slices.

obstore lists (in Rust; see decision 0002); what it hands over is counted 500 objects at a time,
about a millisecond of the event loop each.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

from quest_backend.storage import stretches
from quest_backend.storage.s3 import ListedObject, ObjectStore, ObjectStoreUnavailable
from quest_backend.storage.stretches import Stretch
from quest_backend.storage.tally import Tally, merged

if TYPE_CHECKING:
    from obstore.store import S3Credential  # only its stubs have it

READERS = 4
_SLICE = 500
_PAGE_S = 60.0
# Those of a role change every few hours.
_CREDENTIALS_FOR = timedelta(minutes=5)


class BucketListing:
    """Counts one bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._from = store

    async def count(self, read: Callable[[int], None] = lambda _: None) -> Tally:
        """The whole bucket. ``read`` hears how many objects more have been counted.

        Raises:
            ObjectStoreUnavailable: the bucket could not be read to its end.
        """
        return await _Pass(self._open(), read).run()

    async def objects(
        self, prefix: str, after: str, at_once: int = _SLICE
    ) -> AsyncIterator[list[ListedObject]]:
        """Every object below the folder ``prefix`` in order, those after the key ``after``.

        Raises:
            ObjectStoreUnavailable: the bucket could not be read to its end.
        """
        listed = self._open().list(prefix.rstrip("/"), offset=after or None, chunk_size=at_once)
        while True:
            try:
                async with asyncio.timeout(_PAGE_S):
                    page = await anext(listed, None)
            except (BaseError, TimeoutError) as error:
                raise ObjectStoreUnavailable(f"the bucket cannot be listed: {error}") from error
            if not page:
                return
            yield [
                ListedObject(
                    meta["path"],
                    meta["size"],
                    (meta["e_tag"] or "").strip('"'),
                    int(meta["last_modified"].timestamp() * 1000),
                )
                for meta in page
            ]

    def _open(self) -> S3Store:
        return S3Store(
            self._from.bucket,
            endpoint=self._from.endpoint,
            region=self._from.region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "60s", "connect_timeout": "3s"},
            credential_provider=self._credentials,
        )

    async def _credentials(self) -> "S3Credential":
        now = await self._from.credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.session_token or None,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_FOR,
        }


class _Pass:
    def __init__(self, store: S3Store, read: Callable[[int], None]) -> None:
        self._store = store
        self._read = read
        self._first: Stretch | None = Stretch()
        self._reading: list[Stretch] = []
        self._tallies: list[Tally] = []
        self._news = asyncio.Condition()

    async def run(self) -> Tally:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(READERS):
                    group.create_task(self._reader())
        except* (BaseError, TimeoutError) as errors:
            first = errors.exceptions[0]
            raise ObjectStoreUnavailable(f"the bucket cannot be listed: {first}") from first
        return merged(self._tallies)

    async def _reader(self) -> None:
        while (stretch := await self._next()) is not None:
            try:
                await self._count(stretch)
            finally:
                self._reading.remove(stretch)
                await self._tell()

    async def _next(self) -> Stretch | None:
        """What to read next; None when nothing is left, for anybody."""
        async with self._news:
            while True:
                found = self._first or stretches.cut(self._reading, datetime.now(UTC))
                self._first = None
                if found is not None:
                    self._reading.append(found)
                    return found
                if not self._reading:
                    return None
                await self._news.wait()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _count(self, stretch: Stretch) -> None:
        tally = Tally()
        self._tallies.append(tally)
        pages = self._store.list(offset=stretch.after or None, chunk_size=_SLICE)
        while True:
            async with asyncio.timeout(_PAGE_S):
                page = await anext(pages, None)
            if not page:
                return
            before = tally.objects
            for meta in page:
                key = meta["path"]
                if stretch.ends_before(key):
                    self._read(tally.objects - before)
                    return
                tally.put(key, meta["size"], meta["last_modified"])
            self._read(tally.objects - before)
            stretch.read(page[-1]["path"])
            await self._tell()
