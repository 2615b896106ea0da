"""Engine.IO v4 as an ASGI application: handshake, long polling, WebSocket, the upgrade.

Protocol: https://github.com/socketio/engine.io-protocol. Answers to bad requests are those of
the original server, which clients know.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog

from quest_backend.asgi import header
from quest_backend.sockets.links import AsgiLink, DirectLink, PollingLink
from quest_backend.sockets.packets import Malformed, Outgoing, binary_of, split_payload
from quest_backend.sockets.passing import Passing
from quest_backend.sockets.session import Application, Link, Session
from quest_backend.sockets.websocket import DIRECT

log = structlog.get_logger()

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_UPGRADE_WAIT_S = 10.0
# A POST is answered when the application has taken it in, or after this long.
_DIGEST_S = 30.0
_MAX_PACKETS_PER_POST = 10_000

_UNKNOWN_TRANSPORT = (400, 0, "Transport unknown")
_UNKNOWN_SESSION = (400, 1, "Session ID unknown")
_BAD_METHOD = (400, 2, "Bad handshake method")
_BAD_REQUEST = (400, 3, "Bad request")
_FORBIDDEN = (403, 4, "Forbidden: this origin is not allowed")
_BAD_VERSION = (400, 5, "Unsupported protocol version")
_STOPPING = (503, 3, "The server is stopping; connect again shortly")
_Refusal = tuple[int, int, str]


class EngineServer:
    """Sessions over polling and WebSocket. Times are seconds.

    ``origins`` may open sessions from browsers; ``["*"]`` for any. What ``passing`` makes
    of messages is received in their place.
    """

    def __init__(
        self,
        application: Application,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        max_payload_bytes: int,
        origins: list[str],
        passing: Passing | None = None,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self.draining = False
        self._application = application
        self._leaving = _Leaving(self)
        self._interval_s = ping_interval_s
        self._timeout_s = ping_timeout_s
        self._max_bytes = max_payload_bytes
        self._passing = passing
        self._origins = {origin.encode() for origin in origins}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """An HTTP request or a WebSocket of Engine.IO's path."""
        raw = scope["query_string"].decode("latin-1")
        query = {name: values[-1] for name, values in parse_qs(raw).items()}
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, query, raw)
        else:
            await self._http(scope, receive, send, query, raw)

    # -- sessions ----------------------------------------------------------------------------------

    def _open(self, link: Link, raw_query: str) -> Session:
        session = Session(
            self._leaving,
            link,
            asyncio.get_running_loop(),
            interval_s=self._interval_s,
            timeout_s=self._timeout_s,
        )
        self.sessions[session.id] = session
        link.session = session  # type: ignore[attr-defined]  # every link has it
        # The original counts the opening packet as sent before anything else can be.
        upgrades = ["websocket"] if isinstance(link, PollingLink) else []
        hello = {
            "sid": session.id,
            "upgrades": upgrades,
            "pingInterval": round(self._interval_s * 1000),
            "pingTimeout": round(self._timeout_s * 1000),
            "maxPayload": self._max_bytes,
        }
        link.write((Outgoing(b"0" + orjson.dumps(hello)),))
        self._application.opened(session, raw_query)
        return session

    def forget(self, session: Session, reason: str) -> None:
        """A session is over."""
        self.sessions.pop(session.id, None)
        self._application.closed(session, reason)

    def _problem(self, scope: Any, query: dict[str, str], transport: str) -> _Refusal | None:
        if query.get("transport") not in ("polling", "websocket"):
            return _UNKNOWN_TRANSPORT
        if not self._origin_allowed(scope):
            return _FORBIDDEN
        sid = query.get("sid")
        if sid is not None:
            return None if sid in self.sessions else _UNKNOWN_SESSION
        if query.get("EIO") != "4":
            return _BAD_VERSION
        if query["transport"] != transport:
            return _BAD_REQUEST
        return _STOPPING if self.draining else None

    def _origin_allowed(self, scope: Any) -> bool:
        if b"*" in self._origins:
            return True
        origin = header(scope, b"origin")
        return not origin or origin in self._origins

    async def send_away(self, over_s: float) -> None:
        """Close all sessions, spread over ``over_s`` seconds.

        Without a goodbye of Socket.IO's own, after which its clients would not come back: they
        connect again by themselves, and spread out, not as one storm.
        """
        sessions = list(self.sessions.values())
        random.shuffle(sessions)
        step_s = over_s / max(1, len(sessions))
        clock = asyncio.get_running_loop().time
        begun = clock()
        for number, session in enumerate(sessions):
            await asyncio.sleep(max(0.0, begun + number * step_s - clock()))
            # First the transport, while the session is open: a poll returns empty, and the next
            # one is refused. Engine.IO's own goodbye would keep python-socketio from coming back.
            session.link.close()
            session.close("server stops", hang_up=False)

    # -- WebSocket ---------------------------------------------------------------------------------

    async def _websocket(
        self, scope: Any, receive: Receive, send: Send, query: dict[str, str], raw: str
    ) -> None:
        problem = self._problem(scope, query, "websocket")
        if problem is None and query["transport"] != "websocket":
            problem = _BAD_REQUEST
        if problem is not None:
            await receive()
            await _refuse_websocket(scope, send, problem)
            return
        upgrade_of = self.sessions.get(query.get("sid", ""))
        direct = scope["extensions"].get(DIRECT) if scope.get("extensions") else None
        if direct is not None:
            link = DirectLink(direct, upgrade_of)
            if direct.accept(link, self._passing):
                self._started(link, upgrade_of, raw)
            return
        asgi = AsgiLink(upgrade_of)
        await receive()
        await send({"type": "websocket.accept"})
        self._started(asgi, upgrade_of, raw)
        await asgi.run(receive, send)

    def _started(
        self, link: DirectLink | AsgiLink, upgrade_of: Session | None, raw_query: str
    ) -> None:
        if upgrade_of is None:
            link.started(self._open(link, raw_query))
        elif isinstance(upgrade_of.link, PollingLink):
            asyncio.get_running_loop().call_later(_UPGRADE_WAIT_S, link.abandon)
        else:
            link.close()  # a second WebSocket for a session that has one

    # -- polling -----------------------------------------------------------------------------------

    async def _http(
        self, scope: Any, receive: Receive, send: Send, query: dict[str, str], raw: str
    ) -> None:
        cors = self._cors(scope)
        method = scope["method"]
        if method == "OPTIONS":
            allow = [(b"access-control-allow-methods", b"GET,POST"),
                     (b"access-control-allow-headers", b"content-type,authorization")]  # fmt: skip
            await _answer(send, 204, b"", [*cors, *allow])
            return
        problem = self._problem(scope, query, "polling")
        if problem is None and "sid" not in query and method != "GET":
            problem = _BAD_METHOD
        if problem is not None:
            await _refuse(send, problem, cors)
            return
        if "sid" not in query:
            session = self._open(PollingLink(), raw)
        else:
            session = self.sessions[query["sid"]]
        link = session.link
        if not isinstance(link, PollingLink) or method not in ("GET", "POST"):
            await _refuse(send, _BAD_REQUEST, cors)
        elif method == "POST":
            await self._post(scope, receive, send, session, link, cors)
        elif link.polled:
            session.close("two polls at once")
            await _refuse(send, _BAD_REQUEST, cors)
        else:
            await self._get(receive, send, session, link, cors)

    async def _get(
        self, receive: Receive, send: Send, session: Session, link: PollingLink, cors: Headers
    ) -> None:
        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        body = await link.poll(gone)
        if body is None:
            session.close("client hung up")
        else:
            await _answer(send, 200, body, cors)

    async def _post(
        self,
        scope: Any,
        receive: Receive,
        send: Send,
        session: Session,
        link: PollingLink,
        cors: Headers,
    ) -> None:
        length = header(scope, b"content-length")
        body = bytearray()
        more = not length or (length.isdigit() and int(length) <= self._max_bytes)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False) and len(body) <= self._max_bytes
        if len(body) > self._max_bytes or (length and not body and length != b"0"):
            await _refuse(send, (413, 3, f"At most {self._max_bytes} bytes"), cors)
            session.close("payload too large")
            return
        packets = split_payload(bytes(body))
        closed_by_it = b"1" in packets
        for packet in packets[:_MAX_PACKETS_PER_POST]:
            self._packet(session, packet)
        if session.closed and not closed_by_it:
            await _refuse(send, _BAD_REQUEST, cors)
            return
        try:
            async with asyncio.timeout(_DIGEST_S):
                await link.readable.wait()
        except TimeoutError:
            log.warning("post_not_digested", session=session.id)
        await _answer(send, 200, b"ok", cors)

    def _packet(self, session: Session, packet: bytes) -> None:
        if packet[:1] != b"b":
            session.received(packet, text=True)
            return
        try:
            session.received(binary_of(packet), text=False)
        except Malformed as error:
            self._application.malformed(session, str(error))

    def _cors(self, scope: Any) -> Headers:
        origin = header(scope, b"origin")
        if not origin or not self._origin_allowed(scope):
            return []
        allowed = b"*" if b"*" in self._origins else origin
        return [(b"access-control-allow-origin", allowed), (b"vary", b"origin")]


class _Leaving:
    """The application, with the server's own book-keeping at the end of a session."""

    def __init__(self, server: EngineServer) -> None:
        application = server._application  # noqa: SLF001 - the two are one
        self.opened = application.opened
        self.received = application.received
        self.received_binary = application.received_binary
        self.malformed = application.malformed
        self.closed = server.forget


async def _answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    kind = b"application/json" if status >= 400 else b"text/plain; charset=UTF-8"
    head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store")]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": [*head, *headers]})
    await send({"type": "http.response.body", "body": body})


def _body(problem: _Refusal) -> bytes:
    _, code, message = problem
    return orjson.dumps({"ok": False, "code": code, "message": message, "error": message})


async def _refuse(send: Send, problem: _Refusal, cors: Headers) -> None:
    await _answer(send, problem[0], _body(problem), cors)


async def _refuse_websocket(scope: Any, send: Send, problem: _Refusal) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    start = {"type": "websocket.http.response.start", "status": problem[0], "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": _body(problem)})


def mounted(
    engine: EngineServer, path: str, other: Callable[[Any, Receive, Send], Awaitable[None]]
) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """An ASGI application: ``path`` to ``engine``, everything else to ``other``."""
    bare = path.rstrip("/")

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"].rstrip("/") == bare:
            await engine(scope, receive, send)
        else:
            await other(scope, receive, send)

    return app
