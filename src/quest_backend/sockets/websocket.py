"""picows as uvicorn's WebSocket protocol: give ``PicowsProtocol`` to uvicorn as ``ws=``.

For any ASGI application: handshake, fragments, pings, close codes, bounds, backpressure both ways;
no extensions, so no per-message-deflate. Sections in comments are those of RFC 6455.
picows reads one frame ahead: one that breaks the rules may take the one before it along.
One module though a long one, so that it can be taken as it is.

An application that wants no task per connection finds ``Direct`` in ``scope["extensions"]`` under
``DIRECT``: it answers the handshake at once with ``accept(listener)`` and returns; messages then
arrive as calls, and framed bytes leave by ``write``.

Where ``fast_reader.pyx`` was compiled, it reads whole messages past picows, unless the protocol is
``PlainPicowsProtocol``.
"""

import asyncio
import base64
import binascii
import contextlib
import http
import logging
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools
from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSCloseHandshake, WSProtocol  # type: ignore[attr-defined]  # exported, but not in its stub
from uvicorn.config import Config
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState

FastReader: "type[_FastReader] | None" = None
with contextlib.suppress(ModuleNotFoundError):  # no C compiler where this was installed
    from quest_backend.sockets.fast_reader import FastReader as _FastReader

    FastReader = _FastReader

DIRECT = "quest.websocket.direct"

_READ_BUFFER_BYTES = 2048
_CLOSE_WAIT_S = 5.0
# Pongs to a peer that sends pings and reads nothing must not pile up.
_MAX_UNREAD_BYTES = 64 * 1024
# What a peer may send before its handshake is answered, which no client does.
_MAX_EARLY_BYTES = 64 * 1024
_HEADER_16, _HEADER_64 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack
_TEXT, _BINARY = WSMsgType.TEXT, WSMsgType.BINARY
# picows logs what it closes a connection for; the peer hears it from the close code.
_quiet = logging.LoggerAdapter(logging.getLogger("quest_backend.picows"), {})
_quiet.logger.setLevel(logging.CRITICAL)


class Listener(Protocol):
    """What a direct connection calls. None of it may block or raise."""

    def received(self, payload: Any, text: bool) -> None:
        """A whole message: bytes, or what ``Passing.passed`` made of it.

        ``text`` is not checked to be UTF-8.
        """

    def paused(self) -> None:
        """The transport's buffer is full."""

    def drained(self) -> None:
        """It has run empty again."""

    def lost(self, code: int) -> None:
        """The connection is gone, by this close code."""


class Passing(Protocol):
    """Text messages that are passed on: arrays that begin with ``came`` and end with a string.

    ``FastReader`` writes them out again, with ``goes`` for ``came``, while it reads. Without it
    they arrive as any other.
    """

    @property
    def came(self) -> bytes:
        """At most 64 bytes, up to and with the string's opening quote."""

    @property
    def goes(self) -> bytes:
        """What they go out with instead."""

    @property
    def max_bytes(self) -> int:
        """Of what is inside of the quotes; longer ones arrive as any other."""

    def passed(self, frames: bytes, rest_at: int, is_plain: bool) -> object:
        """What is to be delivered for one.

        ``frames`` is the whole of it as a server sends it, in which what follows ``goes`` is at
        ``rest_at``; ``is_plain`` says that inside there are only printable ASCII, no quote and no
        backslash.
        """


def header(opcode: int, size: int) -> bytes:
    """What comes before ``size`` bytes of payload: unmasked, final, as servers send it (5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return _HEADER_16(0x80 | opcode, 126, size)
    return _HEADER_64(0x80 | opcode, 127, size)


class _Assembler(WSListener):
    """Frames to messages; violations to close codes. Bounded by ``max_bytes`` per message."""

    def __init__(self, max_bytes: int, listener: Listener) -> None:
        self._max_bytes = max_bytes
        self.listener = listener
        self.deliver: Callable[[Any, bool], None] = listener.received
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._fragments_text = False
        self._cut_off: asyncio.TimerHandle | None = None
        self.code = 1006  # 7.1.5: closed without a close frame
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, message: WSFrame) -> None:
        kind = message.msg_type
        text = kind is _TEXT
        if not (
            (text or kind is _BINARY)
            and message.fin
            and not self._fragments
            and not (message.rsv1 or message.rsv2 or message.rsv3)
        ):
            self._other(transport, message)
        elif not transport.is_close_frame_sent:
            self.deliver(message.get_payload_as_bytes(), text)

    def _other(self, transport: WSTransport, message: WSFrame) -> None:
        kind = message.msg_type
        reserved = message.rsv1 or message.rsv2 or message.rsv3
        if kind == WSMsgType.CLOSE and (not reserved or transport.is_close_frame_sent):
            self._closed_by_peer(message)
        elif transport.is_close_frame_sent:
            return
        elif reserved:
            self.fail(1002, "reserved bit set")  # 5.2: no extension was negotiated
        elif kind == WSMsgType.PING:
            if transport.underlying_transport.get_write_buffer_size() < _MAX_UNREAD_BYTES:
                transport.send_pong(message.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            return
        else:
            self._fragment(message)

    def _fragment(self, message: WSFrame) -> None:
        first = message.msg_type != WSMsgType.CONTINUATION
        if first == bool(self._fragments):  # 5.4
            self.fail(1002, "a new message inside another" if first else "nothing to continue")
            return
        if first:
            self._fragments_text = message.msg_type == _TEXT
        self._fragments_bytes += message.payload_size
        if self._fragments_bytes > self._max_bytes or len(self._fragments) > 4096:
            self.fail(1009, f"at most {self._max_bytes} bytes")
            return
        self._fragments.append(message.get_payload_as_bytes())
        if message.fin:
            payload = b"".join(self._fragments)
            self._fragments, self._fragments_bytes = [], 0
            self.deliver(payload, self._fragments_text)

    def _closed_by_peer(self, message: WSFrame) -> None:
        if self.transport.is_close_frame_sent:  # the first of both says why
            self.transport.disconnect()
            self.cut_off_later()
            return
        # 7.1.5: 1005 stands for none. The answer to that has one all the same, which 5.5.1 allows:
        # picows takes only a close with a code for the end of sending.
        code, answer = 1005, 1000
        if message.payload_size:
            code = answer = int.from_bytes(message.get_payload_as_bytes()[:2], "big")
            if not _may_be_sent(code):
                self.fail(1002, "invalid close code")
                return
        self.code = code
        self.close(answer, "")
        self.transport.disconnect()
        self.cut_off_later()

    def fail(self, code: int, reason: str) -> None:
        """Fail the connection (7.1.7)."""
        self.close(code, reason)
        self.code = code
        asyncio.get_running_loop().call_later(0.05, self.transport.disconnect)
        self.cut_off_later()

    def cut_off_later(self) -> None:
        """A peer that neither answers nor reads is waited for so long, and no longer."""
        if self._cut_off is None and not self.transport.is_disconnected:
            loop = asyncio.get_running_loop()
            self._cut_off = loop.call_later(_CLOSE_WAIT_S, self.transport.disconnect, False)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, unless one was."""
        transport = self.transport
        if not transport.is_close_frame_sent and not transport.is_disconnected:
            # 5.5: a control frame carries at most 125 bytes.
            body = reason.encode()[:123].decode(errors="ignore").encode()
            transport.send_close(cast(WSCloseCode, code), body)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._fragments = []
        if self._cut_off is not None:
            self._cut_off.cancel()
        closing: WSCloseHandshake | None = transport.close_handshake
        if self.code == 1006 and closing is not None and closing.sent is not None:
            self.code = int(cast(int, closing.sent.code))
        self.listener.lost(self.code)

    def pause_writing(self) -> None:
        self.listener.paused()

    def resume_writing(self) -> None:
        self.listener.drained()


def _may_be_sent(code: int) -> bool:
    """Whether a close frame may carry ``code`` (7.4.1, 7.4.2, IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code < 5000


class Direct:
    """A handshake to be answered, then the connection itself."""

    __slots__ = ("_assembler", "_protocol", "_transport", "backlog_bytes", "fileno", "write")

    def __init__(self, protocol: "PicowsProtocol") -> None:
        self._protocol: PicowsProtocol | None = protocol
        self._assembler: _Assembler
        self._transport: asyncio.Transport
        self.fileno = -1
        # Sends whole frames, in order; what cannot leave is buffered.
        self.write: Callable[[bytes], None]
        # Bytes that wait in the transport's buffer (not the kernel's).
        self.backlog_bytes: Callable[[], int]

    def accept(self, listener: Listener, passing: Passing | None = None) -> bool:
        """Answer the handshake with 101; messages go to ``listener``. False when it is gone."""
        protocol, self._protocol = self._protocol, None
        if protocol is None or protocol.gone:
            return False
        self._assembler = protocol.switch(listener, [], None, passing)
        protocol.forget_request()
        self._transport = protocol.transport
        self.fileno = self._transport.get_extra_info("socket").fileno()
        self.write = self._transport.write
        self.backlog_bytes = self._transport.get_write_buffer_size
        return True

    def deliver_to(self, received: Callable[[Any, bool], None]) -> None:
        """From now on messages go there instead of to the listener."""
        self._assembler.deliver = received

    def pause_reading(self) -> None:
        """Take no more from the peer."""
        with contextlib.suppress(RuntimeError):
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; a peer that does not answer is cut off."""
        self.write = _ignore
        if not self._transport.is_closing():
            self._assembler.close(code, reason)
        self._assembler.cut_off_later()

    def abort(self) -> None:
        """Cut it off; what waits is thrown away."""
        self.write = _ignore
        self._transport.abort()


def _ignore(_frames: Any) -> None:
    """Nothing follows a close frame (5.5.1)."""


class PicowsProtocol(asyncio.Protocol):
    """One per upgrade request; after the handshake picows takes the transport over."""

    fast_reader = FastReader

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.transport: asyncio.Transport
        self.gone = False
        self._app = cast(Any, config.loaded_app)
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._request = _Request()
        self._key = b""
        self._early = bytearray()
        self._session: _AsgiSession | None = None
        self._assembler: _Assembler | None = None

    # -- called by uvicorn and the event loop, until picows takes over -----------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The HTTP side hands the connection over."""
        self.transport = cast(asyncio.Transport, transport)
        self._state.connections.add(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        """The request, as uvicorn writes it out again; after it, nothing that a client sends."""
        if self._request.complete:
            self._early += data
            if len(self._early) > _MAX_EARLY_BYTES:
                self.transport.abort()
            return
        self._request.feed(data)
        if self._request.complete:
            self._start()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Gone before the handshake was answered."""
        self._lost(1006)

    def eof_received(self) -> None:
        """Half-closed: asyncio closes the rest."""

    def shutdown(self) -> None:
        """The server stops (uvicorn calls it)."""
        if self._assembler is not None:
            self._assembler.close(1012, "service restart")
            self._assembler.cut_off_later()
        else:
            self.refuse(http.HTTPStatus.SERVICE_UNAVAILABLE)

    # -- handshake ---------------------------------------------------------------------------------

    def _start(self) -> None:
        problem = self._request.problem()
        if problem is not None:
            status, headers = problem
            self.refuse(status, headers)
            return
        self._key = self._request.header(b"sec-websocket-key")
        self._session = session = _AsgiSession(self)
        scope = self._scope()
        task = self._loop.create_task(self._run(scope, session))
        task.add_done_callback(self._state.tasks.discard)
        self._state.tasks.add(task)

    def _scope(self) -> dict[str, Any]:
        request, transport = self._request, self.transport
        raw_path, _, query = request.target.partition(b"?")
        path = unquote(raw_path.decode("ascii", "replace"))
        offered = [
            one.strip()
            for value in request.headers_named(b"sec-websocket-protocol")
            for one in value.decode("latin-1").split(",")
        ]
        return {
            "type": "websocket",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "root_path": self.config.root_path,
            "path": self.config.root_path + path,
            "raw_path": self.config.root_path.encode() + raw_path,
            "query_string": query,
            "headers": request.headers,
            "subprotocols": offered,
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, DIRECT: Direct(self)},
        }

    async def _run(self, scope: dict[str, Any], session: "_AsgiSession") -> None:
        logger = logging.getLogger("uvicorn.error")
        try:
            await self._app(scope, session.receive, session.send)
        except ClientDisconnected:
            pass
        except Exception:  # whatever an application raises ends its connection only
            logger.exception("%s: exception in ASGI application", get_client_addr(cast(Any, scope)))
            session.fail()
        else:
            session.finished()

    def refuse(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer the handshake with an HTTP status instead, and close."""
        if self.gone or self.transport.is_closing():
            return
        phrase = http.HTTPStatus(status).phrase.encode()
        body = phrase if body is None else body
        lines = [b"HTTP/1.1 %d %s" % (status, phrase)]
        lines += [name + b": " + value for name, value in headers or []]
        names = {name.lower() for name, _ in headers or []}
        if b"content-length" not in names:
            lines.append(b"content-length: %d" % len(body))
        if b"content-type" not in names:
            lines.append(b"content-type: text/plain; charset=utf-8")
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()

    def switch(
        self,
        listener: Listener,
        headers: list[tuple[bytes, bytes]],
        subprotocol: str | None,
        passing: Passing | None = None,
    ) -> _Assembler:
        """Answer with 101 and hand the transport to picows; messages go to ``listener``."""
        config = self.config
        direct = not isinstance(listener, _AsgiSession)
        self._assembler = assembler = _Assembler(config.ws_max_size, _Ending(listener, self))
        answer = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        if subprotocol:
            answer.append(("Sec-WebSocket-Protocol", subprotocol))
        answer += [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._state.default_headers
        ]

        def accepted(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            response = WSUpgradeResponse.create_101_response(answer)
            return WSUpgradeResponseWithListener(response, assembler)

        ping_s = None if direct else config.ws_ping_interval
        timeout_s = config.ws_ping_timeout or ping_s
        protocol = WSProtocol(
            None, None, False, accepted, _quiet, True, None,
            bool(ping_s), ping_s, min(timeout_s or 0, ping_s or 0),
            WSAutoPingStrategy.PING_WHEN_IDLE, False,
            config.ws_max_size, None, _READ_BUFFER_BYTES,
        )  # fmt: skip
        protocol.connection_made(self.transport)
        # It reads the request itself, and more strictly than browsers write it (4.2.1 was checked).
        _feed(
            protocol,
            b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: " + self._key + b"\r\n\r\n",
        )
        reader: WSProtocol | _FastReader = protocol
        # picows' own pings are for when nothing comes, so it has to see what does.
        if self.fast_reader is not None and not ping_s:
            reader = self.fast_reader(protocol, assembler, passing, config.ws_max_size)
        self.transport.set_protocol(reader)
        if self._early:
            self._loop.call_soon(_feed, reader, bytes(self._early))
            self._early.clear()
        return assembler

    def forget_request(self) -> None:
        """An idle connection keeps only what it needs."""
        self._session = None
        self._request = _Request()

    def _lost(self, code: int) -> None:
        self.gone = True
        self._state.connections.discard(cast(Any, self))
        if self._session is not None:
            self._session.lost(code)


class PlainPicowsProtocol(PicowsProtocol):
    """Without ``FastReader``."""

    fast_reader = None


# By the names in settings; other names are uvicorn's own.
PROTOCOLS: dict[str, type[asyncio.Protocol]] = {
    "picows": PicowsProtocol,
    "picows-plain": PlainPicowsProtocol,
}


class _Ending:
    """A listener whose end also takes the connection off uvicorn's list."""

    __slots__ = ("_listener", "_protocol", "drained", "paused", "received")

    def __init__(self, listener: Listener, protocol: PicowsProtocol) -> None:
        self._listener = listener
        self._protocol = protocol
        self.received = listener.received
        self.drained = listener.drained
        self.paused = listener.paused

    def lost(self, code: int) -> None:
        protocol, listener = self._protocol, self._listener
        protocol._lost(code)  # noqa: SLF001 - the two are one
        if listener is not protocol._session:  # noqa: SLF001
            listener.lost(code)


def _feed(protocol: "WSProtocol | _FastReader", data: bytes) -> None:
    """Hand over bytes as the event loop would."""
    while data:
        buffer = protocol.get_buffer(-1)
        taken = min(len(buffer), len(data))
        buffer[:taken] = data[:taken]
        protocol.buffer_updated(taken)
        data = data[taken:]


class _Request:
    """The HTTP head of an upgrade."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        with contextlib.suppress(httptools.HttpParserUpgrade):
            self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True

    def headers_named(self, name: bytes) -> list[bytes]:
        return [value for one, value in self.headers if one == name]

    def header(self, name: bytes) -> bytes:
        values = self.headers_named(name)
        return values[0].strip() if len(values) == 1 else b""

    def problem(self) -> tuple[int, list[tuple[bytes, bytes]]] | None:
        """The status of a refusal (4.2.1, 4.4), or None."""
        if self._parser.get_method() != b"GET" or self._parser.get_http_version() != "1.1":
            return 400, []
        if self.header(b"sec-websocket-version") != b"13":
            return 426, [(b"sec-websocket-version", b"13")]
        try:
            key = base64.b64decode(self.header(b"sec-websocket-key"), validate=True)
        except binascii.Error:
            return 400, []
        return None if len(key) == 16 else (400, [])


class _AsgiSession:
    """The ASGI side: a queue of messages with backpressure, and what the application may send."""

    def __init__(self, protocol: PicowsProtocol) -> None:
        self._protocol = protocol
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._queue.put_nowait({"type": "websocket.connect"})
        self._writable = asyncio.Event()
        self._writable.set()
        self._assembler: _Assembler | None = None
        self._refusal: tuple[int, list[tuple[bytes, bytes]], bytearray] | None = None
        self._ended = False
        self._reading_paused = False

    # Listener

    def received(self, payload: bytes, text: bool) -> None:
        """A message: to the application's queue; the peer waits until it is taken."""
        message: dict[str, Any] = {"type": "websocket.receive", "bytes": payload}
        if text:
            try:
                message = {"type": "websocket.receive", "text": payload.decode()}
            except UnicodeDecodeError:
                if self._assembler is not None:
                    self._assembler.fail(1007, "text is not UTF-8")  # 8.1
                return
        self._queue.put_nowait(message)
        if not self._reading_paused and not self._ended:
            self._reading_paused = True
            self._protocol.transport.pause_reading()

    def paused(self) -> None:
        """The transport's buffer is full: ``send`` waits."""
        self._writable.clear()

    def drained(self) -> None:
        """It is empty again."""
        self._writable.set()

    def lost(self, code: int) -> None:
        """The connection is gone."""
        if not self._ended:
            self._ended = True
            self._queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})
        self._writable.set()

    # Application

    async def receive(self) -> dict[str, Any]:
        """ASGI ``receive``."""
        message = await self._queue.get()
        if self._reading_paused and self._queue.empty():
            self._resume()
        return message

    def _resume(self) -> None:
        self._reading_paused = False
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._protocol.transport.resume_reading()

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI ``send``: returns when the transport can take more."""
        await self._writable.wait()
        kind = message["type"]
        if self._protocol.gone:
            raise ClientDisconnected
        if self._assembler is not None:
            self._send_open(self._assembler, kind, message)
        elif self._refusal is not None:
            self._send_refusal(kind, message)
        elif kind == "websocket.accept":
            self._assembler = self._protocol.switch(
                self, list(message.get("headers", [])), message.get("subprotocol")
            )
        elif kind == "websocket.close":
            self._end(403)
        elif kind == "websocket.http.response.start":
            self._refusal = (message["status"], list(message.get("headers", [])), bytearray())
        else:
            raise RuntimeError(f"{kind!r} before the handshake was answered")

    def _send_open(self, assembler: _Assembler, kind: str, message: dict[str, Any]) -> None:
        if self._ended or assembler.transport.is_close_frame_sent:
            raise ClientDisconnected
        if kind == "websocket.send":
            data, text = message.get("bytes"), message.get("text")
            opcode = 2 if data is not None else 1
            payload = data if data is not None else cast(str, text).encode()
            self._protocol.transport.write(header(opcode, len(payload)) + payload)
        elif kind == "websocket.close":
            assembler.close(message.get("code", 1000), message.get("reason") or "")
            self.lost(message.get("code", 1000))
            self._resume()
            assembler.cut_off_later()
        else:
            raise RuntimeError(f"{kind!r} on an open WebSocket")

    def _send_refusal(self, kind: str, message: dict[str, Any]) -> None:
        if kind != "websocket.http.response.body" or self._refusal is None:
            raise RuntimeError(f"{kind!r} in a refusal")
        status, headers, body = self._refusal
        body += message.get("body", b"")
        if not message.get("more_body", False):
            self._end(status, headers, bytes(body))

    def _end(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes | None = None,
    ) -> None:
        self._protocol.refuse(status, headers, body)
        self.lost(1006)

    # End of the application

    def finished(self) -> None:
        """The application returned: it closed, took the connection over, or forgot it."""
        protocol = self._protocol
        if self._assembler is not None:
            if not self._ended:
                self._assembler.close(1000, "")
                self._assembler.cut_off_later()
        elif protocol._assembler is None and not self._ended:  # noqa: SLF001
            protocol.refuse(500)

    def fail(self) -> None:
        """The application raised."""
        if self._assembler is not None:
            self._assembler.fail(1011, "internal error")
        elif self._protocol._assembler is None:  # noqa: SLF001
            self._protocol.refuse(500)
