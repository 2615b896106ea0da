"""A server whose network is cut for 20 s: the rest goes on, and afterwards there is one truth."""

import asyncio
import copy
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from cluster import TROUBLE, frames_until, is_recording, nodes, store
from lab import until
from networks import Island, island
from support import Client, Server, free_port, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

CUT_S = 20.0
NODE_TIMEOUT_S = 5


@pytest.fixture
def network() -> Iterator[Island]:
    with island() as made:
        yield made


class Fleet:
    """Three servers on one Valkey, one of them behind the router. Graces are as usual, 60 s."""

    def __init__(self, network: Island, url: str, cut: Server, second: Server, third: Server):
        self.network = network
        self.url = url
        self.cut = cut
        self.second = second
        self.third = third
        # The cut server as clients of another building reach it.
        self.cut_from_afar = copy.copy(cut)
        self.cut_from_afar.url = f"http://{network.through_router}:{cut.port}"

    async def truth(self, server: Server) -> dict[str, tuple[Any, ...]]:
        """What a server says of each headset."""
        async with server.http(admin=True) as http:
            rows = (await http.get("/api/devices")).json()["devices"]
            sessions = (await http.get("/api/sessions")).json()["sessions"]
        said = {
            row["deviceId"]: (row["isOnline"], row["isLocked"], row.get("lockedByTabletId"))
            for row in rows
        }
        return said | {row["sessionId"]: (row["status"],) for row in sessions}

    def stored(self) -> dict[str, tuple[Any, ...]]:
        """What Valkey says of them."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            said: dict[str, tuple[Any, ...]] = {}
            for key in client.scan_iter("device:*"):
                holder = client.get(key.replace("device:", "lock:"))
                online = client.hget(key, "isOnline") == "1"
                said[key.removeprefix("device:")] = (online, holder is not None, holder)
            for key in client.scan_iter("session:*"):
                said[key.removeprefix("session:")] = (client.hget(key, "status"),)
        return said

    async def of_one_mind(self) -> bool:
        """Whether Valkey and every server say the same of everything."""
        said = [await self.truth(server) for server in (self.cut, self.second, self.third)]
        return all(one == self.stored() for one in said)


@pytest.fixture
def fleet(tmp_path: Path, network: Island) -> Iterator[Fleet]:
    port = free_port()
    url = f"redis://:open-sesame@{network.outside}:{port}/0"
    options = ("--bind", network.outside, "--port", str(port), "--requirepass", "open-sesame")
    env = {"NODE_TIMEOUT_SECONDS": str(NODE_TIMEOUT_S), "TABLET_GRACE_SECONDS": "60"}
    with store(tmp_path / "store", *options, url=url):
        cut = Server(
            tmp_path / "cut", inside=network.prefix, address=network.in_lab, REDIS_URL=url,
            HOST="0.0.0.0", **env,
        )  # fmt: skip
        cut.spawn()
        try:
            with nodes(tmp_path, 2, url, **env) as (second, third):
                yield Fleet(network, url, cut.wait(), second, third)
        finally:
            network.mend()
            cut.stop()
        log = cut.log.read_text()
        assert not [trouble for trouble in TROUBLE if trouble in log], log


class Cast:
    """Who is where when the cut comes, and what they hold."""

    stays: Client  # a headset of the cut server, in ``lead``'s session
    leaves: Client  # another one, that goes home during the cut
    roams: Client  # a third one, whose way to its server is cut
    far: Client  # a headset of the third server, in ``recorder``'s session
    free: Client  # another one
    recorder: Client  # a tablet of the cut server; it watches ``stays``
    lead: Client  # a tablet of the second server
    other: Client  # another one, of the third
    lead_session: str
    recorder_session: str

    async def enter(self, stack: AsyncExitStack, fleet: Fleet) -> None:
        come = stack.enter_async_context
        self.stays = await come(headset(fleet.cut))
        self.leaves = await come(headset(fleet.cut))
        self.roams = await come(headset(fleet.cut_from_afar))
        self.far = await come(headset(fleet.third))
        self.free = await come(headset(fleet.third))
        self.recorder = await come(tablet(fleet.cut))
        self.lead = await come(tablet(fleet.second))
        self.other = await come(tablet(fleet.third))
        everyone = {q.identity for q in (self.stays, self.leaves, self.roams, self.far, self.free)}
        for operator in (self.recorder, self.lead, self.other):
            await operator.gets(
                catalogue.ON_HEADSETS_UPDATED, lambda ids: everyone <= set(ids), timeout_s=10
            )
        self.lead_session = await self._record(self.lead, self.stays, self.roams)
        self.recorder_session = await self._record(self.recorder, self.far)
        await self.recorder.ask(
            catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, self.stays.identity
        )
        await frames_until(self.stays, self.recorder)
        await frames_until(self.stays, self.lead)

    async def _record(self, operator: Client, *quests: Client) -> str:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity for quest in quests]},
        )
        session = str(created["sessionId"])
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        for quest in quests:
            await quest.gets(catalogue.ON_TABLET_START_RECORDING)
            await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
            await operator.gets(catalogue.ON_DEVICE_RECORDING_CHANGED, is_recording(quest.identity))
        return session


@pytest.mark.timeout(240)
async def test_a_server_that_is_cut_off_for_20_s(fleet: Fleet) -> None:
    async with AsyncExitStack() as stack:
        cast = Cast()
        await cast.enter(stack, fleet)
        for client in (cast.lead, cast.other, cast.recorder):
            client.forget()
        fleet.network.cut()
        end = time.monotonic() + CUT_S
        newcomer = await stack.enter_async_context(Client(fleet.cut, DeviceType.HEADSET))
        back = await stack.enter_async_context(headset(fleet.second, cast.roams.identity))
        await asyncio.gather(
            behind_the_cut(fleet, cast, newcomer, end), the_rest_goes_on(fleet, cast, back, end)
        )
        for client in (cast.lead, cast.other, cast.recorder):
            client.forget()
        fleet.network.mend()
        await one_truth(fleet, cast, back, newcomer)


async def the_rest_goes_on(fleet: Fleet, cast: Cast, back: Client, end: float) -> None:
    """Whole servers notice, and serve theirs as if nothing were."""
    lost = {cast.stays.identity, cast.leaves.identity}
    noticed = NODE_TIMEOUT_S * 2 + 3
    for operator in (cast.lead, cast.other):
        await operator.gets(
            catalogue.ON_HEADSETS_UPDATED, lambda ids: not lost & set(ids), timeout_s=noticed
        )
    # A headset that has found another server goes on recording in its session.
    await back.send(catalogue.HEADSET_RECORDING_STATE, True)
    await frames_until(back, cast.lead)
    await cast.far.send(catalogue.HEADSET_RECORDING_STATE, False)
    free = cast.free.identity
    rounds = 0
    while time.monotonic() < end or not rounds:
        for operator, loser in ((cast.lead, cast.other), (cast.other, cast.lead)):
            asked = time.monotonic()
            await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, free)
            refused = await loser.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCK_FAILED, free
            )
            assert refused["reason"] == "Device locked by another tablet"
            reply = await operator.call(catalogue.TABLET_START_RECORDING, free)
            assert reply["success"], reply
            await frames_until(cast.free, operator)
            await operator.ask(catalogue.TABLET_UNLOCK_DEVICE, catalogue.ON_DEVICE_UNLOCKED, free)
            assert time.monotonic() - asked < 2
        for client in (cast.lead, cast.other):
            client.forget()
        rounds += 1
        await asyncio.sleep(0.5)
    for server in (fleet.second, fleet.third):
        async with server.http() as http:
            assert (await http.get("/health")).status_code == 200
    # Whose server is cut off keeps the lock and the session for the grace.
    stored = fleet.stored()
    assert stored[cast.stays.identity] == (False, True, cast.lead.sid)
    assert stored[cast.roams.identity] == (True, True, cast.lead.sid)
    assert stored[cast.recorder_session] == stored[cast.lead_session] == ("recording",)


async def behind_the_cut(fleet: Fleet, cast: Cast, newcomer: Client, end: float) -> None:
    """The cut server says that it is, and does what it can without the others."""
    async with fleet.cut.http() as http:

        async def degraded() -> bool:
            return (await http.get("/health")).status_code == 503

        await until(degraded, timeout_s=5)
        health = await http.get("/health")
        assert health.json()["dependencies"]["valkey"] == {"ok": False}
        assert (await http.get("/ready")).status_code == 503
        metrics = (await http.get("/metrics")).text
        assert 'turing_dependency_up{name="valkey"} 0.0' in metrics
    await cast.leaves.socket.disconnect()
    await newcomer.send(catalogue.HEADSET_IDENTIFY, newcomer.identity)
    assert (await newcomer.gets(catalogue.ERROR))["code"] == "UNAVAILABLE"
    while time.monotonic() < end:
        cast.recorder.forget()
        await frames_until(cast.stays, cast.recorder)  # within the lab
        asked = time.monotonic()
        await cast.recorder.send(catalogue.TABLET_END_SESSION, cast.recorder_session)
        refusal = await cast.recorder.gets(catalogue.ERROR)
        assert refusal["code"] == "UNAVAILABLE"
        assert time.monotonic() - asked < 2
        await asyncio.sleep(0.5)


async def one_truth(fleet: Fleet, cast: Cast, back: Client, newcomer: Client) -> None:
    """Within the grace, without anybody asking, everybody says the same, and it is right."""
    here = {q.identity for q in (cast.stays, cast.roams, cast.far, cast.free, newcomer)}
    for operator in (cast.lead, cast.other, cast.recorder):
        await operator.gets(
            catalogue.ON_HEADSETS_UPDATED, lambda ids: set(ids) == here, timeout_s=15
        )
    await until(fleet.of_one_mind, timeout_s=10)
    said = fleet.stored()
    assert said == {
        cast.stays.identity: (True, True, cast.lead.sid),
        cast.leaves.identity: (False, False, None),
        cast.roams.identity: (True, True, cast.lead.sid),
        cast.far.identity: (True, True, cast.recorder.sid),
        cast.free.identity: (True, False, None),
        newcomer.identity: (True, False, None),
        cast.lead_session: ("recording",),
        cast.recorder_session: ("recording",),
    }
    # What was said on either side meanwhile is known on the other.
    await cast.recorder.gets(
        catalogue.ON_DEVICE_RECORDING_CHANGED,
        lambda body: body == {"deviceId": cast.far.identity, "isRecording": False},
        timeout_s=5,
    )
    async with fleet.third.http(admin=True) as http:
        assert await recording(http, cast.lead_session) == {
            cast.stays.identity: True,
            cast.roams.identity: True,
        }
    # The roaming headset is where it went, whatever its old connection still says.
    reply = await cast.lead.call(catalogue.TABLET_STOP_RECORDING, cast.roams.identity)
    assert reply["success"], reply
    await back.gets(catalogue.ON_TABLET_STOP_RECORDING)
    assert cast.roams.seen(catalogue.ON_TABLET_STOP_RECORDING) == []
    # Previews and both sessions' ends pass over what was the cut.
    cast.lead.forget()
    await frames_until(cast.stays, cast.lead)
    for operator, session, quest in (
        (cast.lead, cast.lead_session, cast.stays),
        (cast.recorder, cast.recorder_session, cast.far),
    ):
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
        ended = await quest.gets(catalogue.ON_SESSION_ENDED)
        assert ended["sessionId"] == session
    assert cast.stays.seen(catalogue.ON_TABLET_STOP_RECORDING)
    await cast.other.ask(
        catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, newcomer.identity
    )
    await until(fleet.of_one_mind, timeout_s=5)
    lives = [server.log.read_text().count("node_died") for server in (fleet.second, fleet.third)]
    assert sum(lives) == 1, lives


async def recording(http: httpx.AsyncClient, session: str) -> dict[str, bool]:
    body = (await http.get(f"/api/sessions/{session}")).json()["session"]
    return {part["deviceId"]: part["isRecording"] for part in body["deviceStatuses"]}
