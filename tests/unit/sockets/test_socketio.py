"""A door's bug ends the one packet that it is in, whichever way the packet came."""

import asyncio
from typing import Any

import pytest

from quest_backend.sockets.links import PollingLink
from quest_backend.sockets.passing import Passed
from quest_backend.sockets.session import Session
from quest_backend.sockets.socketio import Client, SocketIo, Tap, Work

pytestmark = pytest.mark.asyncio


class FaultyDoor:
    """Lets everybody in; events called ``bug`` raise, at once or from a task."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def authenticate(self, client: Client, auth: Any, query: str) -> None:
        pass

    def opened(self, client: Client) -> Work:
        return None

    def tap(self, client: Client) -> Tap:
        def take(packet: bytes | Passed) -> bool:
            if isinstance(packet, bytes) and packet.startswith(b'42["raw",'):
                raise RuntimeError("a bug on the hot path")
            return False

        return take

    def event(self, client: Client, name: str, args: list[Any], ack_id: int | None) -> Work:
        if name == "bug":
            raise RuntimeError("a bug")
        if name.startswith("later"):
            return self._later(name)
        self.heard.append(name)
        return None

    async def _later(self, name: str) -> None:
        await asyncio.sleep(0)
        if name == "later bug":
            raise RuntimeError("a bug in a task")
        self.heard.append(name)

    def malformed(self, client: Client, problem: str) -> None:
        self.heard.append(problem)

    def closed(self, client: Client, reason: str) -> Work:
        self.heard.append("closed")
        return None


async def test_the_session_goes_on() -> None:
    door = FaultyDoor()
    server = SocketIo({"/": door}, connect_timeout_s=60)
    link = PollingLink()
    session = link.session = Session(
        server, link, asyncio.get_running_loop(), interval_s=60, timeout_s=60
    )
    server.opened(session, "")
    for packet in (b"40", b'42["raw",1]', b'42["bug"]', b'42["one"]', b'42["later"]',
                   b'42["bug"]', b'42["later bug"]', b'42["raw",1]', b'42["two"]'):  # fmt: skip
        session.received(packet, text=True)
    await server.finish(5)
    # The second one came while another packet was worked on: it is read like any other.
    assert door.heard == ["one", "later", "raw", "two"]
    assert not session.closed
    session.close("done")
    assert door.heard[-1] == "closed"
