"""Bytes of objects and parts, over presigned URLs: aiobotocore would hash them on the loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from quest_backend.storage.presign import Presigner

_CONNECT_S = 3.0
_BODY_S = 300.0
_EXPIRES_S = 3600
_PIECE_BYTES = 256 * 1024
_CONNECTIONS = 32


class ObjectStoreUnavailable(Exception):  # noqa: N818 - a state, not a bug
    """The object store did not answer, or could not do it now. Try again."""


class ObjectChanged(Exception):  # noqa: N818 - an answer
    """The object is another one by now, or gone."""


class Bodies:
    """Sends and reads the bytes of one bucket."""

    def __init__(
        self, endpoint: str, bucket: str, presigner: Callable[[], Awaitable[Presigner]]
    ) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._presigner = presigner
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_BODY_S, sock_connect=_CONNECT_S),
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            )
        return self._http

    async def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        """Store one part of an upload; its ETag without quotes.

        Raises:
            ObjectStoreUnavailable: it was not stored.
        """
        sign = (await self._presigner()).part_url(
            self._endpoint, self._bucket, key, upload_id, datetime.now(UTC), _EXPIRES_S
        )
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        try:
            async with self._session().put(
                URL(sign(number), encoded=True), data=_pieces(body), headers=headers
            ) as answer:
                text = await answer.text(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ObjectStoreUnavailable(f"the object store does not answer: {error}") from error
        if answer.status != 200:
            raise ObjectStoreUnavailable(f"the store did not take a part: {text[:200]}")
        return answer.headers["ETag"].strip('"')

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """Bytes ``start`` to ``end`` (without ``end``) of the version ``etag``; one request.

        At most as many bytes as asked for are held, whatever the store sends.

        Raises:
            ObjectChanged: the object has another ETag, or is gone.
            ObjectStoreUnavailable: try again.
        """
        url = (await self._presigner()).url(
            "GET", self._endpoint, f"/{self._bucket}/{key}", {}, datetime.now(UTC), _EXPIRES_S
        )
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{etag}"'}
        try:
            async with self._session().get(URL(url, encoded=True), headers=headers) as answer:
                if answer.status in (404, 412, 416):
                    raise ObjectChanged(f"{key}: changed or gone")
                if answer.status != 206:
                    raise ObjectStoreUnavailable(f"the object store answered {answer.status}")
                # Not every store knows If-Match.
                if answer.headers.get("ETag", "").strip('"') != etag:
                    raise ObjectChanged(f"{key}: changed")
                return await answer.content.readexactly(end - start)
        except asyncio.IncompleteReadError as error:
            raise ObjectStoreUnavailable("the object store sent fewer bytes than it has") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ObjectStoreUnavailable(f"the object store does not answer: {error}") from error


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]
