"""The embedded store through this server's own port, for presigned requests only.

So a lab needs one open port. Method, path and query go on exactly as they were signed, bodies are
streamed with backpressure and never held; what we did not sign does not reach the store.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import aiohttp
import orjson
import structlog
from yarl import URL

from quest_backend.asgi import header
from quest_backend.metrics import Metrics
from quest_backend.protocol.recordings import parse_key
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.state.versions import NewerRecord
from quest_backend.storage.presign import NotSigned, Signed, host_of
from quest_backend.storage.s3 import ObjectStoreFull
from quest_backend.storage.service import Storage

log = structlog.get_logger()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_CONNECT_S = 3.0
# Without a byte moving for so long, it is over.
_IDLE_S = 60.0
_CONNECTIONS = 256
_CHUNK_BYTES = 256 * 1024
_METHODS = ("GET", "HEAD", "PUT")
_PASSED_ON = {
    b"content-type", b"content-length", b"content-md5", b"range", b"if-match", b"if-none-match",
    b"if-modified-since", b"if-unmodified-since", b"if-range",
}  # fmt: skip
_PASSED_BACK = {
    "content-type", "content-length", "content-range", "accept-ranges", "etag", "last-modified",
    "x-amz-request-id", "x-amz-checksum-crc64nvme",
}  # fmt: skip
_EXPOSED = b"ETag, Content-Length, Content-Range, x-amz-checksum-crc64nvme"


@dataclass(frozen=True, slots=True)
class _Route:
    path: str = "/{bucket}/{key}"


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ClientLeft(Exception):  # noqa: N818 - an event
    """The client went away in the middle of its body."""


class ObjectDoor:
    """ASGI middleware in front of everything else. ``storage`` is set once it is open."""

    def __init__(self, app: App, bucket: str, origins: list[str], metrics: Metrics) -> None:
        self._app = app
        self._prefix = f"/{bucket}/"
        self._origins = origins
        self._bytes = metrics.passed_bytes
        self._http: aiohttp.ClientSession | None = None
        self.storage: Storage | None = None

    def streams(self, scope: Message) -> bool:
        """Whether a request is for the store; its body has bounds of its own."""
        return (
            self.storage is not None
            and self.storage.passes_through
            and scope["path"].startswith(self._prefix)
        )

    async def close(self) -> None:
        """Close the connections to the store."""
        if self._http is not None:
            await self._http.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a presigned request on, everything else to the app."""
        if scope["type"] != "http" or not self.streams(scope):
            await self._app(scope, receive, send)
            return
        scope["route"] = _Route()
        cors = self._cors(scope)
        if scope["method"] == "OPTIONS":
            await _answer(send, 204, b"", [*cors, *_PREFLIGHT])
            return
        try:
            await self._pass(scope, receive, send, cors)
        except _Refused as refused:
            body = orjson.dumps({"ok": False, "error": str(refused)})
            # The body is not read, so this connection is of no more use.
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            await _answer(send, refused.status, body, [*cors, *headers])

    def _cors(self, scope: Message) -> list[tuple[bytes, bytes]]:
        origin = header(scope, b"origin")
        if not origin or ("*" not in self._origins and origin.decode() not in self._origins):
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"vary", b"Origin"),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    async def _pass(
        self, scope: Message, receive: Receive, send: Send, cors: list[tuple[bytes, bytes]]
    ) -> None:
        assert self.storage is not None  # noqa: S101 - streams() has seen to it
        signed = await self._check(scope)
        part = await self._expected_part(scope, signed)
        query = scope["query_string"].decode("ascii")
        url = URL(f"{self.storage.store.endpoint}{_raw_path(scope)}?{query}", encoded=True)
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _PASSED_ON
        }
        headers["Host"] = signed.host
        left = asyncio.Event()
        body = self._body(receive, left) if scope["method"] == "PUT" else None
        try:
            async with self._session().request(
                scope["method"], url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                if part is not None and answer.status == 200:
                    await self._stored(*part)
                await self._respond(answer, send, cors)
        except (aiohttp.ClientError, TimeoutError, ClientLeft) as error:
            if left.is_set():
                return  # nobody to answer
            log.warning("pass_through_failed", reason=str(error) or type(error).__name__)
            raise _Refused(503, "The object store is down; try again shortly") from None

    async def _check(self, scope: Message) -> Signed:
        assert self.storage is not None  # noqa: S101 - streams() has seen to it
        if scope["method"] not in _METHODS:
            raise _Refused(405, f"{scope['method']} is not allowed here")
        hosts = [header(scope, b"host").decode("latin-1")]
        hosts.append(host_of(self.storage.endpoint_for(f"{scope['scheme']}://{hosts[0]}")))
        presigner = await self.storage.store.presigner()
        try:
            return presigner.check(
                scope["method"], _raw_path(scope), scope["query_string"].decode("ascii"), hosts,
                datetime.now(UTC),
            )  # fmt: skip
        except (NotSigned, UnicodeDecodeError) as error:
            raise _Refused(403, str(error)) from None

    async def _expected_part(self, scope: Message, signed: Signed) -> tuple[str, int, int] | None:
        """The upload, number and bytes of the part that a PUT brings; None for a read."""
        assert self.storage is not None  # noqa: S101 - streams() has seen to it
        if scope["method"] != "PUT":
            return None
        announced = header(scope, b"content-length")
        if not announced.isdigit():
            raise _Refused(411, "Send Content-Length")
        try:
            key = unquote(_raw_path(scope)).removeprefix(self._prefix)
            parse_key(key)
            upload_id, number = signed.query["uploadId"], int(signed.query["partNumber"])
        except (KeyError, ValueError):
            raise _Refused(403, "Only parts of recordings are uploaded here") from None
        try:
            record = await self.storage.records.load(upload_id)
        except StoreUnavailable:
            raise _Refused(503, "The state store is down; try again shortly") from None
        except NewerRecord as error:
            raise _Refused(503, str(error)) from None
        if record is None or record.key != key or record.state != "uploading":
            raise _Refused(404, "Upload not found: it was completed, aborted or has expired")
        if not 1 <= number <= record.plan.parts or int(announced) != record.plan.size_of(number):
            raise _Refused(400, f"Part {number} of this upload has another size")
        try:
            self.storage.check_room(int(announced))
        except ObjectStoreFull as error:
            raise _Refused(507, str(error).capitalize()) from None
        return upload_id, number, int(announced)

    async def _body(self, receive: Receive, left: asyncio.Event) -> AsyncIterator[bytes]:
        count = self._bytes.labels("in")
        while True:
            async with asyncio.timeout(_IDLE_S):
                message = await receive()
            if message["type"] == "http.disconnect":
                left.set()
                raise ClientLeft
            body = message.get("body", b"")
            if body:
                count.inc(len(body))
                yield body
            if not message.get("more_body"):
                return

    async def _respond(
        self, answer: aiohttp.ClientResponse, send: Send, cors: list[tuple[bytes, bytes]]
    ) -> None:
        headers = [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if name.lower() in _PASSED_BACK
        ]
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [*headers, *cors]}
        )
        count = self._bytes.labels("out")
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            count.inc(len(chunk))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _stored(self, upload_id: str, number: int, size: int) -> None:
        assert self.storage is not None  # noqa: S101 - streams() has seen to it
        # The part is there whether or not it can be noted now; progress is told again by the next.
        with contextlib.suppress(StoreUnavailable):
            await self.storage.uploads.part_stored(upload_id, number, size)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_S, sock_read=_IDLE_S
                ),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            )
        return self._http


_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, PUT"),
    (b"access-control-allow-headers", b"Content-Type, Content-MD5, Range"),
    (b"access-control-max-age", b"3600"),
]


def _raw_path(scope: Message) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("ascii", errors="replace")


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = [(b"content-length", str(len(body)).encode())] if body else []
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
