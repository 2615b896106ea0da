"""uvicorn's own graceful end: every client hears 1012, and nobody can hold it up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websocket_support import (
    CLOSE,
    Echo,
    Peer,
    Receive,
    Scope,
    Send,
    closing,
    connected,
    serving,
    until,
    upgrade,
)

from quest_backend.sockets import websocket
from quest_backend.sockets.websocket import header

pytestmark = pytest.mark.asyncio

# Instead of 5 s; uvicorn itself has no limit in these tests.
WAIT_S = 0.3


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_CLOSE_WAIT_S", WAIT_S)


@contextlib.asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """At most so long, beside uvicorn's own sleeps of 0.1 s."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(10):
        yield
    assert loop.time() - started < seconds + 1.5


async def test_clients_hear_that_the_service_restarts() -> None:
    echo = Echo()
    async with serving(echo) as running, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(running)) for _ in range(20)]

        async def answer(peer: Peer) -> None:
            frame = await peer.frame()
            assert frame is not None
            assert frame.opcode == CLOSE
            assert frame.code == 1012  # IANA's registry, 7.4.2
            await peer.send(closing(1012))
            assert await peer.frames() == []

        async with within(0), asyncio.TaskGroup() as group:
            group.create_task(running.server.shutdown())
            for peer in peers:
                group.create_task(answer(peer))
        assert not running.connections
    assert echo.ended == [1012] * 20


async def test_a_client_that_does_not_answer_is_cut_off() -> None:
    echo = Echo()
    async with serving(echo) as running, connected(running) as peer:
        async with within(WAIT_S):
            await running.server.shutdown()
        frames = await peer.frames()
        assert [frame.code for frame in frames] == [1012]
    assert echo.ended == [1012]


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """With its buffer full there is no way to tell it."""
    ended = asyncio.Event()

    async def pour(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(OSError):
            while True:
                await send({"type": "websocket.send", "bytes": bytes(65536)})
        ended.set()

    async with serving(pour) as running, connected(running, receive_buffer=4096):
        transport = running.protocol.transport
        await until(lambda: transport.get_write_buffer_size() > 65536, "never paused")
        async with within(WAIT_S):
            await running.server.shutdown()
        assert ended.is_set()


async def test_a_handshake_that_waits_is_refused() -> None:
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    async with serving(app) as running:
        peer = await Peer.connect(running.port)
        await peer.send(upgrade())
        await until(lambda: running.server.server_state.tasks, "not asked")
        async with within(0):
            await running.server.shutdown()
        assert (await peer.head())[0] == 503
        peer.hang_up()
    assert heard == ["websocket.connect", "websocket.disconnect"]


async def test_a_direct_connection_hears_it_too() -> None:
    codes: list[int] = []

    class Listener:
        def received(self, payload: bytes, text: bool) -> None:
            pass

        def paused(self) -> None:
            pass

        def drained(self) -> None:
            pass

        def lost(self, code: int) -> None:
            codes.append(code)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["extensions"][websocket.DIRECT]
        direct.accept(Listener())
        direct.write(header(1, 2) + b"hi")

    async with serving(app) as running, connected(running) as peer:
        async with within(WAIT_S):
            await running.server.shutdown()
        assert [frame.code for frame in (await peer.frames())[1:]] == [1012]
    assert codes == [1012]
