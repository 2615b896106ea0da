"""The three transports of a session: what they send, in which order, and how they change over."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websocket_support import PATIENCE_S, TEXT, closing, connected, masked, serving, until

from quest_backend.sockets.links import AsgiLink, DirectLink, PollingLink, kernel_holds_back
from quest_backend.sockets.packets import Outgoing
from quest_backend.sockets.session import Session
from quest_backend.sockets.websocket import DIRECT

pytestmark = pytest.mark.asyncio

ONE, TWO, THREE = Outgoing(b"4one"), Outgoing(b"4two"), Outgoing(b"4three")
BINARY = Outgoing(b"451-[]", attachments=(b"\xff",))


class Hearing:
    """An application over sessions that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def opened(self, session: Session, query: str) -> None:
        self.heard.append("opened")

    def received(self, session: Session, packet: bytes) -> None:
        self.heard.append(packet)

    def received_binary(self, session: Session, data: bytes) -> None:
        self.heard.append(data)

    def malformed(self, session: Session, problem: str) -> None:
        self.heard.append(problem)

    def closed(self, session: Session, reason: str) -> None:
        self.heard.append(f"closed: {reason}")


def session_on(link: Any, app: Hearing | None = None) -> Session:
    session = Session(app or Hearing(), link, asyncio.get_running_loop(), interval_s=60, timeout_s=60)  # fmt: skip
    link.session = session
    return session


async def never() -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def polled(link: PollingLink) -> AsyncIterator[asyncio.Task[bytes | None]]:
    """A GET that waits."""
    task = asyncio.ensure_future(link.poll(never))
    await until(lambda: link.polled, "no GET waits")
    yield task
    assert task.done() or task.cancel()


class TestPollingLink:
    async def test_what_waits_goes_with_the_next_get(self) -> None:
        link = PollingLink()
        session_on(link)
        assert link.busy()
        link.write((ONE, BINARY))
        assert link.backlog_bytes() == ONE.size + BINARY.size
        assert await link.poll(never) == b"4one\x1e451-[]\x1eb/w=="
        assert link.backlog_bytes() == 0

    async def test_a_get_waits_for_something(self) -> None:
        link = PollingLink()
        session_on(link)
        async with polled(link) as get:
            assert not link.busy()
            assert link.offer(ONE)
            assert not link.offer(TWO)  # the GET is as good as gone
            assert await get == b"4one"
        assert not link.polled

    async def test_a_client_that_hangs_up_loses_nothing(self) -> None:
        link = PollingLink()
        session_on(link)
        gone = asyncio.Event()

        async def hung_up() -> None:
            await gone.wait()

        get = asyncio.ensure_future(link.poll(hung_up))
        await until(lambda: link.polled, "no GET waits")
        gone.set()
        assert await get is None
        link.write((ONE,))
        assert await link.poll(never) == b"4one"

    async def test_an_upgrade_releases_the_get(self) -> None:
        link = PollingLink()
        session_on(link)
        async with polled(link) as get:
            link.release()
            assert await get == b"6"
        assert await link.poll(never) == b"6"  # none waits while it goes on
        link.release(probing=False)
        async with polled(link) as get:
            link.write((ONE,))
            assert await get == b"4one"

    async def test_the_end_hands_over_what_is_left(self) -> None:
        link = PollingLink()
        session_on(link)
        link.write((ONE, TWO))
        assert link.end() == [ONE, TWO]
        assert link.backlog_bytes() == 0
        assert await link.poll(never) == b"6"

    async def test_close_is_told_to_the_get(self) -> None:
        link = PollingLink()
        session = session_on(link)
        async with polled(link) as get:
            session.close("enough")
            assert await get == b"1"

    async def test_the_clients_own_goodbye_is_answered_by_a_noop(self) -> None:
        link = PollingLink()
        session = session_on(link)
        async with polled(link) as get:
            session.received(b"1", text=True)
            assert await get == b"6"
        assert session.closed

    async def test_abort_forgets(self) -> None:
        link = PollingLink()
        session_on(link)
        link.write((ONE,))
        link.abort()
        assert b"one" not in (await link.poll(never) or b"")

    async def test_reading_pauses(self) -> None:
        link = PollingLink()
        link.pause_reading()
        assert not link.readable.is_set()
        link.resume_reading()
        assert link.readable.is_set()


class Wire:
    """The server's side of an ASGI WebSocket, in memory."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()

    async def receive(self) -> dict[str, Any]:
        return await self.inbox.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        self.sent.append(message.get("text", message.get("bytes", message["type"])))

    def hang_up(self, code: int = 1001) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})


@contextlib.asynccontextmanager
async def running(link: AsgiLink, wire: Wire) -> AsyncIterator[None]:
    task = asyncio.ensure_future(link.run(wire.receive, wire.send))
    await until(lambda: link._task, "does not run")
    yield
    wire.open.set()
    wire.hang_up()
    async with asyncio.timeout(PATIENCE_S):
        await task


class TestAsgiLink:
    async def test_messages_both_ways(self) -> None:
        link, wire, app = AsgiLink(None), Wire(), Hearing()
        session = session_on(link, app)
        async with running(link, wire):
            link.write((ONE, BINARY))
            wire.inbox.put_nowait({"type": "websocket.receive", "text": "4hé"})
            wire.inbox.put_nowait({"type": "websocket.receive", "bytes": b"\x01"})
            await until(lambda: len(app.heard) == 2, "not received")
            await until(lambda: len(wire.sent) == 3, "not sent")
        assert app.heard == ["4hé".encode(), b"\x01", "closed: transport close 1001"]
        assert wire.sent[:3] == ["4one", "451-[]", b"\xff"]
        assert session.closed

    async def test_one_that_does_not_read_is_busy(self) -> None:
        link, wire = AsgiLink(None), Wire()
        session_on(link)
        wire.open.clear()
        async with running(link, wire):
            assert link.offer(ONE)
            assert link.busy()
            assert not link.offer(TWO)
            link.write((THREE,))
            assert link.backlog_bytes() == ONE.size + THREE.size
            assert not link.write_frames(b"")
            wire.open.set()
            await until(lambda: not link.busy(), "never drained")
            assert link.backlog_bytes() == 0
            assert wire.sent == ["4one", "4three"]

    async def test_close_comes_after_what_is_queued(self) -> None:
        link, wire = AsgiLink(None), Wire()
        session_on(link)
        async with running(link, wire):
            link.write((ONE,))
            link.close()
            link.write((TWO,))
            await until(lambda: len(wire.sent) == 2, "not closed")
            assert wire.sent == ["4one", "websocket.close"]

    async def test_abort_waits_for_nobody(self) -> None:
        link, wire, app = AsgiLink(None), Wire(), Hearing()
        session_on(link, app)
        wire.open.clear()
        task = asyncio.ensure_future(link.run(wire.receive, wire.send))
        await until(lambda: link._task, "does not run")
        link.write((ONE, TWO))
        link.abort()
        async with asyncio.timeout(PATIENCE_S):
            await task
        assert app.heard == ["closed: transport close 1006"]

    async def test_reading_pauses(self) -> None:
        link, wire, app = AsgiLink(None), Wire(), Hearing()
        session_on(link, app)
        link.pause_reading()
        async with running(link, wire):
            wire.inbox.put_nowait({"type": "websocket.receive", "text": "4x"})
            for _ in range(20):
                await asyncio.sleep(0)
            assert app.heard == []
            link.resume_reading()
            await until(lambda: app.heard == [b"4x"], "does not go on")


class Taped(AsgiLink):
    """What it writes, at once."""

    def __init__(self, upgrade_of: Session | None) -> None:
        super().__init__(upgrade_of)
        self.tape: list[bytes] = []
        self.closed = False

    def write(self, packets: Any) -> None:
        self.tape += [packet.text for packet in packets]

    def close(self) -> None:
        self.closed = True


class TestUpgrade:
    async def test_from_polling(self) -> None:
        """Nothing is lost or overtaken; the old GET ends."""
        polling, app = PollingLink(), Hearing()
        session = session_on(polling, app)
        link = Taped(session)
        async with polled(polling) as get:
            link.received(b"2probe", True)
            assert link.tape == [b"3probe"]
            assert await get == b"6"
        session.send(ONE)  # to the polling transport still
        link.received(b"5", True)
        assert session.link is link
        session.send(TWO)
        assert link.tape[1:] == [b"4one", b"4two"]
        link.received(b"4hi", True)
        assert app.heard == [b"4hi"]
        link.abandon()
        assert not link.closed

    @pytest.mark.parametrize("first", [b"4hi", b"", b"2", b"2probe!", b"\xff"])
    async def test_anything_else_closes_it(self, first: bytes) -> None:
        polling = PollingLink()
        session = session_on(polling)
        link = Taped(session)
        link.received(first, True)
        assert link.closed
        assert session.link is polling
        assert not session.closed

    async def test_one_that_takes_too_long_is_abandoned(self) -> None:
        polling = PollingLink()
        session = session_on(polling)
        link = Taped(session)
        link.received(b"2probe", True)
        link.abandon()
        assert link.closed
        link.lost(1006)
        async with polled(polling) as get:  # GETs wait again
            polling.write((ONE,))
            assert await get == b"4one"
        assert not session.closed

    async def test_of_a_session_that_is_over(self) -> None:
        session = session_on(PollingLink())
        session.close("done")
        link = Taped(session)
        link.received(b"2probe", True)
        assert link.closed

    async def test_twice(self) -> None:
        """The second finds a session that has a WebSocket."""
        session = session_on(PollingLink())
        first, second = Taped(session), Taped(session)
        for link in (first, second):
            link.received(b"2probe", True)
        first.received(b"5", True)
        second.received(b"5", True)
        assert second.closed
        assert session.link is first


class Joining:
    """Makes a session of every WebSocket, over ``DirectLink``."""

    def __init__(self) -> None:
        self.app = Hearing()
        self.link: DirectLink

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        direct = scope["extensions"][DIRECT]
        self.link = DirectLink(direct, None)
        assert direct.accept(self.link)
        self.link.started(session_on(self.link, self.app))


class TestDirectLink:
    async def test_messages_both_ways(self) -> None:
        server = Joining()
        async with serving(server) as up, connected(up) as peer:
            server.link.write((ONE, BINARY))
            server.link.write(())
            server.link.write_frames(TWO.frames)
            assert server.link.offer(THREE)
            got = [await peer.frame() for _ in range(5)]
            assert [one.payload for one in got if one] == [
                b"4one", b"451-[]", b"\xff", b"4two", b"4three",
            ]  # fmt: skip
            await peer.send(masked(TEXT, b"4hi"))
            await until(lambda: server.app.heard == [b"4hi"], "not received")
            server.link.close()
            goodbye = await peer.frame()
            assert goodbye is not None
            assert goodbye.code == 1000
            await peer.send(closing(1000))
            assert await peer.frames() == []
        assert server.app.heard[1:] == ["closed: transport close 1000"]

    async def test_one_that_does_not_read_is_busy_until_it_does(self) -> None:
        server = Joining()
        large = Outgoing(b"4" * 60_000)
        async with serving(server) as up, connected(up, receive_buffer=4096) as peer:
            written = 0
            while server.link.backlog_bytes() == 0:
                server.link.write((large,))
                written += 1
                await asyncio.sleep(0)
            assert server.link.busy()
            assert not server.link.offer(ONE)
            for _ in range(written):
                frame = await peer.frame()
                assert frame is not None
                assert len(frame.payload) == 60_000
            await until(lambda: not server.link.busy(), "stays busy")
            assert server.link.offer(ONE)
            frame = await peer.frame()
            assert frame is not None
            assert frame.payload == b"4one"
            server.link.abort()
            assert await peer.frames() == []


async def test_the_kernel_tells_what_it_holds_back() -> None:
    """Bytes that a full receiver keeps from leaving, not those on their way."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(listening.getsockname())
        writer, _ = listening.accept()
        fileno = writer.fileno()
        with writer:
            assert not kernel_holds_back(writer.fileno())
            writer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    writer.send(bytes(65536))
            assert kernel_holds_back(writer.fileno())
    assert not kernel_holds_back(fileno)  # closed: nothing is told
