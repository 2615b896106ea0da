"""A uvicorn with picows in this process, and a WebSocket peer that controls every bit."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import uvicorn

from quest_backend.sockets import websocket

# By the name in ``WEBSOCKET_PROTOCOL``, as ``quest-backend serve`` gives them to uvicorn.
PROTOCOLS: dict[str, Any] = {
    **websocket.PROTOCOLS,
    "websockets-sansio": "websockets-sansio",
    "wsproto": "wsproto",
}

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
# No step of any test takes this long on a machine that works.
PATIENCE_S = 10.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
KEY_ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_MASK = b"\x37\xfa\x21\x3d"  # RFC 6455, 5.7

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class Running:
    """A server that is up."""

    server: uvicorn.Server
    port: int
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def connections(self) -> int:
        """How many uvicorn knows."""
        return len(self.server.server_state.connections)

    @property
    def protocol(self) -> Any:
        """Of the one connection that there is."""
        (one,) = self.server.server_state.connections
        return one


@contextlib.asynccontextmanager
async def serving(app: App, protocol: str = "picows", **options: Any) -> AsyncIterator[Running]:
    """``app`` on a port of its own. At the end nothing may be left: connection, task or error."""
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    config = uvicorn.Config(
        app, ws=PROTOCOLS[protocol], http="httptools", lifespan="off", log_config=None,
        access_log=False, ws_per_message_deflate=False, ws_ping_interval=None, **options,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listening = socket.create_server(("127.0.0.1", 0))
    running = Running(server, listening.getsockname()[1])
    loop.set_exception_handler(lambda _, context: running.errors.append(context))
    await server.startup(sockets=[listening])
    await server.on_tick(0)  # sets the headers of all answers
    try:
        yield running
    finally:
        # Not uvicorn's own shutdown, which sleeps 0.1 s; ``test_shutdown`` is about that.
        for one in server.servers:
            one.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await until(lambda: not server.server_state.connections, "connections are left")
        await until(lambda: not server.server_state.tasks, "uvicorn's tasks are left")
        await until(lambda: asyncio.all_tasks() <= before, "tasks are left")
        listening.close()
        loop.set_exception_handler(None)
    assert not running.errors, running.errors


async def until(condition: Callable[[], object], otherwise: str) -> None:
    """Wait for what other callbacks of this loop bring about."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, otherwise
        await asyncio.sleep(0.001)


def masked(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    length: bytes | None = None,
    mask: bytes | None = _MASK,
) -> bytes:
    """A frame as clients send it; ``length`` overrides the second byte's 7 bits and what follows."""
    size = len(payload)
    if length is None and size < 126:
        length = bytes((size,))
    elif length is None:
        length = struct.pack("!BH", 126, size) if size < 1 << 16 else struct.pack("!BQ", 127, size)
    head = bytes((fin << 7 | reserved << 4 | opcode, length[0] | (0x80 if mask else 0)))
    if not mask:
        return head + length[1:] + payload
    keys = (mask * (size // 4 + 1))[:size]
    hidden = (int.from_bytes(payload) ^ int.from_bytes(keys)).to_bytes(size)
    return head + length[1:] + mask + hidden


def closing(code: int | None, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return masked(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


class Frame(NamedTuple):
    """One of the server's."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """Of a close frame, None where it has none."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2]) if self.payload else None


def upgrade(path: str = "/", **headers: str | None) -> bytes:
    """A handshake; a header that is None is left out."""
    usual: dict[str, str | None] = {
        "host": "127.0.0.1",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_version": "13",
        "sec_websocket_key": KEY.decode(),
    }
    lines = [f"GET {path} HTTP/1.1"]
    for name, value in (usual | headers).items():
        if value is not None:
            lines.append(f"{name.replace('_', '-')}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


class Peer:
    """A raw TCP client. Every wait ends."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None) -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._loop.sock_sendall(self.sock, data)

    def send_what_fits(self, data: bytes) -> int:
        """As much as the kernel takes without waiting."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def hang_up(self) -> None:
        """Close, with a reset if something was left unread."""
        self.sock.close()

    def half_close(self) -> None:
        with contextlib.suppress(OSError):  # reset by the server already
            self.sock.shutdown(socket.SHUT_WR)

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        """Status and headers of the HTTP answer; duplicates are joined."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._more(), f"closed after {bytes(self._buffer)!r}"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        first, *lines = head.split(b"\r\n")
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            held = headers.get(name.lower())
            headers[name.lower()] = value if held is None else held + b", " + value
        return int(first.split(b" ")[1]), headers

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        while await self._more():
            pass
        return bytes(self._buffer)

    async def frame(self) -> Frame | None:
        """The next frame, or None at the end. What servers may not send fails the test."""
        while (found := self._parse()) is None:
            if not await self._more():
                assert not self._buffer, f"half a frame: {bytes(self._buffer)!r}"
                return None
        return found

    async def frames(self) -> list[Frame]:
        """All that come until the server closes."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
        return found

    async def _more(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                data = await self._loop.sock_recv(self.sock, 1 << 16)
            except ConnectionResetError:  # closed with something of ours unread
                return False
        self._buffer += data
        return bool(data)

    def _parse(self) -> Frame | None:
        data = self._buffer
        if len(data) < 2:
            return None
        size, at = data[1], 2
        assert data[0] & 0xF0 == 0x80, "the server sends whole messages, no reserved bits"
        assert size < 128, "5.1: a server must not mask"
        if size == 126:
            size, at = int.from_bytes(data[2:4]), 4
            assert at > len(data) or size > 125, "5.2: not the shortest length"
        elif size == 127:
            size, at = int.from_bytes(data[2:10]), 10
            assert at > len(data) or size > 65535, "5.2: not the shortest length"
        if len(data) < at + size:
            return None
        found = Frame(data[0] & 15, bytes(data[at : at + size]))
        del data[: at + size]
        assert found.opcode < 8 or size <= 125, "5.5: control frames are short"
        return found


@contextlib.asynccontextmanager
async def connected(
    running: Running, path: str = "/", *, receive_buffer: int | None = None
) -> AsyncIterator[Peer]:
    """A peer whose handshake was accepted."""
    peer = await Peer.connect(running.port, receive_buffer=receive_buffer)
    try:
        await peer.send(upgrade(path))
        status, _ = await peer.head()
        assert status == 101
        yield peer
    finally:
        peer.hang_up()


class Echo:
    """Sends back what it gets; notes what ended its connections."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            with contextlib.suppress(OSError):  # gone: the next thing received says why
                await send({**message, "type": "websocket.send"})
        assert message["type"] == "websocket.disconnect"
        self.ended.append(message["code"])


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no file to keep
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
