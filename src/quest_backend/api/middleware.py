"""Around every HTTP request: metrics, security headers, and a bound on bodies."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from quest_backend.metrics import Metrics
from quest_backend.state.embedded import EmbeddedValkeyError
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.embedded import EmbeddedS3Error
from quest_backend.storage.s3 import BucketError
from quest_backend.supervised import DataDirInUseError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_DISCARDED_BYTES = 32 * 1024 * 1024

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

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            send = _without_traceback(send)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS]
                has_own = any(name == _CSP[0] for name, _ in message["headers"])
                if not has_own and not scope["path"].startswith(_NO_CSP):
                    message["headers"].append(_CSP)
            await send(message)

        try:
            if self._streams(scope):
                await self._app(scope, receive, sending)
            elif _announced(scope) > MAX_BODY_BYTES:
                await _refuse_body(receive, sending)
            else:
                await self._app(scope, _bounded(receive), sending)
        finally:
            self._observe(scope, status, time.monotonic() - started)

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
    await send(
        {
            "type": "http.response.start",
            "status": 413,
            "headers": [(b"content-type", b"application/json"), (b"connection", b"close")],
        }
    )
    await send({"type": "http.response.body", "body": body})
