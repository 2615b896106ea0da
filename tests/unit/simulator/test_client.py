"""Requests end with an answer or a reason, against a server that does as the test says."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import socketio
from aiohttp import web

from quest_backend.protocol import catalogue
from quest_backend.simulator.client import RequestFailed
from quest_backend.simulator.devices import SimulatedHeadset, SimulatedTablet
from quest_backend.simulator.scenarios import eventually

pytestmark = pytest.mark.asyncio


class Peer:
    """A Socket.IO server whose handlers the test sets."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp")
        self.url = ""

    async def start(self) -> web.AppRunner:
        application = web.Application()
        self.sio.attach(application)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return runner


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    runner = await made.start()
    yield made
    await made.sio.shutdown()
    await runner.cleanup()


@pytest_asyncio.fixture
async def tablet(peer: Peer) -> AsyncIterator[SimulatedTablet]:
    made = SimulatedTablet(peer.url, "SIMTABLET_1", "token", ["websocket"])
    await made.connect()
    yield made
    await made.stop()


async def test_a_refusal_fails_at_once_and_says_why(peer: Peer, tablet: SimulatedTablet) -> None:
    async def refuse(sid: str, session_id: str) -> None:
        await peer.sio.emit(catalogue.ON_SESSION_ERROR.name, {"error": "Session not found"}, to=sid)

    peer.sio.on(catalogue.TABLET_START_SESSION.name, refuse)
    async with asyncio.timeout(2):
        with pytest.raises(RequestFailed, match="Session not found"):
            await tablet.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, "nope")


async def test_no_answer_fails_in_time_and_leaves_nothing_waiting(tablet: SimulatedTablet) -> None:
    with pytest.raises(RequestFailed, match=catalogue.ON_ACTIVE_SESSION.name):
        await tablet.ask(
            catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION, timeout_s=0.1
        )
    assert not any(tablet._waiters.values())


async def test_a_lost_connection_ends_the_wait(peer: Peer, tablet: SimulatedTablet) -> None:
    async def hang_up(sid: str) -> None:
        await peer.sio.disconnect(sid)

    peer.sio.on(catalogue.TABLET_GET_ACTIVE_SESSION.name, hang_up)
    async with asyncio.timeout(2):
        with pytest.raises(RequestFailed, match="lost"):
            await tablet.ask(catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION)


async def test_a_headset_whose_identify_failed_tries_again(peer: Peer) -> None:
    """A connection that is open but not identified is no connection."""
    asked: list[str] = []

    async def identify(sid: str, device_id: str) -> None:
        asked.append(device_id)
        if len(asked) == 2:
            refusal = {"code": "UNAVAILABLE", "message": "try again shortly"}
            await peer.sio.emit(catalogue.ERROR.name, refusal, to=sid)
        else:
            await peer.sio.emit(catalogue.ON_HEADSET_CONNECTED.name, to=sid)

    peer.sio.on(catalogue.HEADSET_IDENTIFY.name, identify)
    headset = SimulatedHeadset(
        peer.url, "SIMQUEST_0001", "token", ["websocket"], frames=[""], fps=0, seed=1
    )
    await headset.connect()
    await headset.cut()
    assert await eventually(lambda: headset.reconnects == 1, 5)
    assert headset.identified
    assert headset.connected
    assert len(asked) == 3
    await headset.stop()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_cut_client_comes_back_by_either_transport(peer: Peer, transport: str) -> None:
    client = SimulatedTablet(peer.url, "SIMTABLET_2", "token", [transport])
    await client.connect()
    old = client.sid
    await client.cut(away_s=0.3)
    assert await eventually(lambda: client.reconnects == 1, 5)
    assert client.connected
    assert client.sid != old
    await client.stop()
