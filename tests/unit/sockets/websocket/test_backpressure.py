"""Who does not read is waited for, on either side; what waits meanwhile is bounded."""

import asyncio
import contextlib
from typing import Any

import pytest
from websocket_support import (
    BINARY,
    PING,
    PONG,
    TEXT,
    Echo,
    Frame,
    Peer,
    Receive,
    Scope,
    Send,
    connected,
    masked,
    resident_bytes,
    serving,
    until,
    upgrade,
)

from quest_backend.sockets.websocket import DIRECT, Direct, header

pytestmark = pytest.mark.asyncio

MB = 1024 * 1024
PIECE = 64 * 1024
# asyncio's and uvloop's: above it a transport calls pause_writing.
HIGH_WATER = 64 * 1024


async def turns(count: int = 100) -> None:
    """Let everything happen that can."""
    for _ in range(count):
        await asyncio.sleep(0)


class Pouring:
    """Sends as much as it may, and counts."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sent = 0
        self.ended: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while self.sent < self.most:
                await send(
                    {"type": "websocket.send", "bytes": self.sent.to_bytes(4) * (PIECE // 4)}
                )
                self.sent += 1
        except OSError as error:
            self.ended = error
            raise


async def test_a_client_that_does_not_read_blocks_send() -> None:
    """``pause_writing`` reaches ``send``; memory holds one buffer, not what is to come."""
    app = Pouring(1600)  # 100 MB
    async with serving(app) as running, connected(running, receive_buffer=65536) as peer:
        transport = running.protocol.transport
        await until(lambda: transport.get_write_buffer_size() > HIGH_WATER, "never paused")
        await turns()
        sent, resident = app.sent, resident_bytes()
        # The rest is in the kernel, which takes a few MB.
        assert transport.get_write_buffer_size() <= HIGH_WATER + PIECE + 10
        assert sent < app.most / 2
        await turns(1000)
        assert app.sent == sent
        for number in range(app.most):
            frame = await peer.frame()
            assert frame == Frame(BINARY, number.to_bytes(4) * (PIECE // 4))
        assert app.sent == app.most
        assert resident_bytes() - resident < 16 * MB


@pytest.mark.parametrize("reset", [False, True])
async def test_a_blocked_send_ends_with_the_connection(reset: bool) -> None:
    app = Pouring(1600)
    async with serving(app) as running:
        peer = await Peer.connect(running.port, receive_buffer=65536)
        await peer.send(upgrade())
        await peer.head()
        transport = running.protocol.transport
        await until(lambda: transport.get_write_buffer_size() > HIGH_WATER, "never paused")
        if reset:
            peer.hang_up()  # with much unread
        else:
            transport.abort()
        await until(lambda: app.ended, "send still waits")
        peer.hang_up()


class Reluctant:
    """Takes a message only when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.got: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await self.go.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            self.got.append(message["bytes"][:4])


@pytest.mark.parametrize("size", [100, PIECE])
async def test_a_slow_application_stops_the_client(size: int) -> None:
    """Reading pauses with the first message that waits: the client's own buffers fill."""
    app = Reluctant()
    async with serving(app) as running, connected(running) as peer:
        before = resident_bytes()
        frames, pending, offered = 0, b"", 0
        idle = 0
        while idle < 200:
            if not pending:
                pending = masked(BINARY, frames.to_bytes(4) * (size // 4), mask=bytes(4))
                frames += 1
            taken = peer.send_what_fits(pending)
            offered += taken
            pending = pending[taken:]
            idle = 0 if taken else idle + 1
            await asyncio.sleep(0)
            assert offered < 40 * MB, "the server reads what nobody takes"
        assert not running.protocol.transport.is_reading()
        # What one read brought, at most, waits in memory: the kernel has the rest.
        assert resident_bytes() - before < 16 * MB
        app.go.set()
        await peer.send(pending)
        await until(lambda: len(app.got) == frames, "not all came")
        assert app.got == [number.to_bytes(4) for number in range(frames)]


async def test_a_ping_is_answered_when_the_application_takes_again() -> None:
    app = Reluctant()
    async with serving(app) as running, connected(running) as peer:
        await peer.send(masked(BINARY, b"0000"))
        await until(lambda: not running.protocol.transport.is_reading(), "reads on")
        await peer.send(masked(PING, b"?"))
        app.go.set()
        assert await peer.frame() == Frame(PONG, b"?")


async def test_pongs_to_a_client_that_does_not_read_are_bounded() -> None:
    """5.5.3 allows to leave out the answers to all pings but the last."""
    async with serving(Echo()) as running, connected(running, receive_buffer=4096) as peer:
        transport = running.protocol.transport
        flood = masked(PING, b"p" * 125) * 1000
        for _ in range(300):  # 40 MB
            await peer.send(flood)
            assert transport.get_write_buffer_size() < 80 * 1024
        await until(lambda: transport.get_write_buffer_size() >= HIGH_WATER, "the kernel took all")
        # It still is one that can be talked to.
        reading = asyncio.ensure_future(_until_text(peer))
        await peer.send(masked(TEXT, b"hello"))
        assert await reading > 0


async def _until_text(peer: Peer) -> int:
    pongs = 0
    while (frame := await peer.frame()) != Frame(TEXT, b"hello"):
        assert frame == Frame(PONG, b"p" * 125)
        pongs += 1
    return pongs


class Held:
    """A direct listener, and its connection."""

    def __init__(self) -> None:
        self.direct: Direct
        self.calls: list[str] = []
        self.got = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.direct = scope["extensions"][DIRECT]
        assert self.direct.accept(self)

    def received(self, payload: bytes, text: bool) -> None:
        self.got += len(payload)

    def paused(self) -> None:
        self.calls.append("paused")

    def drained(self) -> None:
        self.calls.append("drained")

    def lost(self, code: int) -> None:
        self.calls.append(f"lost {code}")


async def test_a_direct_listener_hears_of_both() -> None:
    held = Held()
    message = b"x" * PIECE
    async with serving(held) as running, connected(running, receive_buffer=65536) as peer:
        await until(lambda: running.connections, "not there")
        written = 0
        while "paused" not in held.calls:
            held.direct.write(header(BINARY, PIECE) + message)
            written += 1
            await asyncio.sleep(0)
            assert written < 1600
        assert held.direct.backlog_bytes() > 0
        for _ in range(written):
            assert await peer.frame() == Frame(BINARY, message)
        await until(lambda: held.calls == ["paused", "drained"], "not drained")
        assert held.direct.backlog_bytes() == 0
        held.direct.pause_reading()
        held.direct.pause_reading()
        await peer.send(masked(BINARY, b"12345"))
        await turns()
        assert held.got == 0
        held.direct.resume_reading()
        held.direct.resume_reading()
        await until(lambda: held.got == 5, "reading does not go on")
    assert held.calls[2:] == ["lost 1006"]


async def test_a_direct_connection_that_is_closed_takes_nothing_more() -> None:
    held = Held()
    async with serving(held) as running, connected(running) as peer:
        held.direct.close(4009, "enough")
        held.direct.write(header(TEXT, 4) + b"late")
        held.direct.close(4010)
        held.direct.pause_reading()  # as a session does that is over
        held.direct.resume_reading()
        frame = await peer.frame()
        assert frame is not None
        assert frame.code == 4009
        with contextlib.suppress(ConnectionError):
            await peer.send(masked(TEXT, b"late too") + masked(8, frame.payload[:2]))
        assert await peer.frames() == []
        await until(lambda: held.calls, "not told")
    assert held.calls == ["lost 4009"]
    assert held.got == 0
    held.direct.abort()
    held.direct.close()


async def test_an_answer_that_comes_too_late() -> None:
    """The client is gone before the application accepts."""
    accepted: list[Any] = []
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        accepted.append(scope["extensions"][DIRECT].accept(Held()))
        gone.set()

    async with serving(app) as running:
        peer = await Peer.connect(running.port)
        await peer.send(upgrade())
        await until(lambda: running.server.server_state.tasks, "not asked")
        peer.hang_up()
        await gone.wait()
    assert accepted == [False]
