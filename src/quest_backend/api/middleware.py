"""Around every HTTP request: metrics, security headers, and a bound on bodies."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import structlog

from quest_backend.metrics import Metrics
from quest_backend.state.embedded import EmbeddedValkeyError
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.embedded import EmbeddedS3Error
from quest_backend.storage.s3 import BucketError
from quest_backend.supervised import DataDirInUseError

log = structlog.get_logger()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_DISCARDED_BYTES = 32 * 1024 * 1024
# What a cut upload may take to leave nothing behind.
_DROP_S = 2.0
_STOPPING = b'{"ok":false,"error":"The server is stopping; send it again shortly"}'
_COME_BACK = [(b"retry-after", b"1")]

# What can keep the server from starting without being a bug.
_NOT_BUGS = (
    EmbeddedValkeyError,
    EmbeddedS3Error,
    DataDirInUseError,
    StoreUnavailable,
    BucketError,
)

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
# /docs loads Swagger UI from a CDN and starts it inline; everything else is ours.
_CSP = (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'")
_NO_CSP = ("/docs", "/redoc")


class Edge:
    """ASGI middleware."""

    def __init__(
        self, app: App, metrics: Metrics, streams: Callable[[Message], bool] = lambda _: False
    ) -> None:
        """``streams``: whether a request's body is streamed on, with bounds of its own."""
        self._app = app
        self._streams = streams
        self._metrics = metrics
        self._streaming: set[asyncio.Task[None]] = set()
        # Set when the server stops: bodies that are coming in may end, new ones are refused.
        self.draining = False

    @property
    def is_streaming(self) -> bool:
        """Whether bodies are coming in."""
        return bool(self._streaming)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            send = _without_traceback(send)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status, answered = 500, False

        async def sending(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
                has_own = any(name == _CSP[0] for name, _ in message["headers"])
                if not has_own and not scope["path"].startswith(_NO_CSP):
                    message["headers"].append(_CSP)
            await send(message)

        try:
            if self._streams(scope):
                await self._stream(scope, receive, sending)
            elif _announced(scope) > MAX_BODY_BYTES:
                await _refuse_body(receive, sending)
            else:
                await self._app(scope, _bounded(receive), sending)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.draining or answered or task is None:
                raise
            # Cut by ``finish``, or by uvicorn when its time was over: any server can do it again.
            task.uncancel()
            await _answer(sending, 503, _STOPPING, _COME_BACK)
        finally:
            self._observe(scope, status, time.monotonic() - started)

    async def _stream(self, scope: Message, receive: Receive, send: Send) -> None:
        if self.draining:
            await _answer(send, 503, _STOPPING, _COME_BACK)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - requests run in tasks
        self._streaming.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._streaming.discard(task)

    async def finish(self, timeout_s: float) -> None:
        """Let the bodies that are coming in end within ``timeout_s``; then cut them.

        What is cut leaves nothing half: a part is not stored, a form's files are dropped.
        """
        if not self._streaming:
            return
        _, late = await asyncio.wait(set(self._streaming), timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            log.warning("uploads_cut", count=len(late))
            await asyncio.wait(late, timeout=_DROP_S)

    def _observe(self, scope: Message, status: int, seconds: float) -> None:
        route = scope.get("route")
        # The pattern, not the path: labels must not grow with ids or guesses.
        labels = (scope["method"], getattr(route, "path", "other"), str(status))
        self._metrics.http_requests.labels(*labels).inc()
        self._metrics.http_duration.labels(*labels).observe(seconds)


def _without_traceback(send: Send) -> Send:
    """What keeps the server from starting, when it is not a bug, is said in a line."""

    async def sending(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            text = message.get("message", "")
            for expected in _NOT_BUGS:
                _, found, reason = text.rpartition(f"{expected.__name__}: ")
                if found:
                    message["message"] = f"The server did not start: {reason.strip()}"
        await send(message)

    return sending


def _announced(scope: Message) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else MAX_BODY_BYTES + 1
    return 0


def _bounded(receive: Receive) -> Receive:
    """A body of unannounced length ends at the bound: the JSON in it is then incomplete."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MAX_BODY_BYTES:
                return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return bounded


async def _refuse_body(receive: Receive, send: Send) -> None:
    # Most clients read the answer only after they have sent the body, so take a fair part of it.
    taken = 0
    while taken < MAX_DISCARDED_BYTES:
        message = await receive()
        taken += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b'{"ok":false,"error":"Body too large: at most %d bytes"}' % MAX_BODY_BYTES
    await _answer(send, 413, body)


async def _answer(
    send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    # What is left of the request's body is not read, so this connection is of no more use.
    head = [(b"content-type", b"application/json"), (b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
