"""Three real servers on one Valkey behind Caddy: nobody notices which one has the headset."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from cluster import frames_until, is_recording, nodes
from fronts import WAYS, caddy, doors
from support import Client, Server, dashboard, headset, tablet

from quest_backend.protocol import catalogue

pytestmark = pytest.mark.asyncio

Pair = list[Server]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[list[Server]]:
    """The servers themselves."""
    folder = tmp_path_factory.mktemp("three")
    with nodes(folder, 3, valkey_url, TABLET_GRACE_SECONDS="20") as servers:
        yield servers


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, three: list[Server]) -> Iterator[Server]:
    """Caddy before them."""
    with caddy(tmp_path_factory.mktemp("caddy"), *three) as front:
        yield front


@pytest.fixture(params=["straight", *WAYS])
def pair(request: pytest.FixtureRequest, three: list[Server], front: Server) -> list[Server]:
    """Two ways in that lead to two servers: straight, or through Caddy by each transport."""
    if request.param == "straight":
        return three[:2]
    return doors(front, 3, WAYS[request.param])[:2]


async def test_each_door_leads_to_a_server_of_its_own(front: Server, valkey_url: str) -> None:
    """What the other tests here take for granted."""
    async with AsyncExitStack() as stack:
        quests = [
            await stack.enter_async_context(headset(door))
            for door in doors(front, 3, WAYS["polling"])
        ]
        with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
            places = {client.hget(f"device:{quest.identity}", "nodeId") for quest in quests}
    assert len(places) == 3


async def test_a_tablet_leads_a_headset_on_another_node(pair: Pair) -> None:
    there, here = pair
    async with headset(there) as quest, tablet(here) as operator:
        name = quest.identity
        await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: name in ids)
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, name)
        # Everybody sees the lock, on both nodes.
        await quest.gets(
            catalogue.ON_DEVICE_LOCKS_UPDATED,
            lambda rows: (
                {"deviceId": name, "isLocked": True, "lockedByTabletId": operator.sid} in rows
            ),
        )
        reply = await operator.call(catalogue.TABLET_START_RECORDING, name)
        assert reply == {"success": True, "deviceId": name}
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await operator.gets(
            catalogue.ON_DEVICE_RECORDING_CHANGED,
            is_recording(name),
        )
        await operator.gets(catalogue.ON_HEADSET_RECORDING_ACTIVE)
        await frames_until(quest, operator)
        await quest.send(catalogue.HEADSET_STATUS, '{"mode":"idle"}')
        await operator.gets(catalogue.ON_HEADSET_STATUS_UPDATED, lambda text: "idle" in text)
        await operator.call(catalogue.TABLET_STOP_RECORDING, name)
        await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
        await operator.send(catalogue.TABLET_TOGGLE_RECORDING, name)
        await quest.gets(catalogue.ON_TABLET_RECORDING_TOGGLED)
        await operator.send(catalogue.TABLET_SYNC_METADATA, '{"task":"pour"}', name)
        await quest.gets(catalogue.ON_TABLET_METADATA_SYNCED, lambda text: "pour" in text)
        await operator.ask(catalogue.TABLET_UNLOCK_DEVICE, catalogue.ON_DEVICE_UNLOCKED, name)
        await quest.settled()
        operator.forget()
        # Nobody watches any more: nothing crosses. Status comes behind the frame, if at all.
        for _ in range(5):
            await quest.send(catalogue.HEADSET_FRAME, "BBBB")
        await quest.settled()
        await operator.settled()
        assert operator.seen(catalogue.ON_HEADSET_FRAME_UPDATED) == []


async def test_a_session_over_two_nodes(pair: Pair) -> None:
    there, here = pair
    async with headset(there) as far, headset(here) as near, tablet(here) as operator:
        both = [far.identity, near.identity]
        await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: set(both) <= set(ids))
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_CREATED, {"deviceIds": both}
        )
        assert created["deviceIds"] == both
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        for quest in (far, near):
            await quest.gets(catalogue.ON_TABLET_START_RECORDING)
            await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
            await operator.gets(
                catalogue.ON_DEVICE_RECORDING_CHANGED,
                is_recording(quest.identity),
            )
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
        for quest in (far, near):
            await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
            await quest.gets(catalogue.ON_SESSION_ENDED, lambda body: body["sessionId"] == session)
        async with there.http(operator.identity) as http:
            body = (await http.get(f"/api/sessions/{session}")).json()["session"]
        assert body["status"] == "completed"


async def test_dashboards_of_every_node_see_the_whole_fleet(pair: Pair) -> None:
    there, here = pair
    async with headset(there) as quest, dashboard(here) as board:
        name = quest.identity
        await board.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: name in ids)
        whole = await board.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        assert any(row["deviceId"] == name and row["isOnline"] for row in whole)
        await quest.send(
            catalogue.DEVICE_TELEMETRY, json.dumps({"batteryLevel": 0.42, "deviceName": "Far one"})
        )
        await board.gets(
            catalogue.ON_DEVICE_TELEMETRY_UPDATED,
            lambda row: (
                row["deviceId"] == name and (row["telemetry"] or {}).get("batteryLevel") == 0.42
            ),
        )
        await board.gets(
            catalogue.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED,
            lambda rows: any(row["customName"] == "Far one" for row in rows),
        )
        await board.send(catalogue.DASHBOARD_WATCH, [name])
        await frames_until(quest, board, catalogue.ON_HEADSET_FRAME)
        async with there.http(admin=True) as http:
            await http.post(f"/api/devices/{name}/name", json={"customName": "Named"})
        await board.gets(
            catalogue.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED,
            lambda rows: any(row["customName"] == "Named" for row in rows),
        )
    async with dashboard(here) as board:
        await board.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: name not in ids)


@pytest.mark.timeout(300)
async def test_two_tablets_on_two_nodes_never_both_win(front: Server) -> None:
    there, here, third = doors(front, 3, WAYS["websocket"])
    async with AsyncExitStack() as stack:
        quests = [
            await stack.enter_async_context(headset((there, here, third)[number % 3]))
            for number in range(50)
        ]
        ids = [quest.identity for quest in quests]
        one = await stack.enter_async_context(tablet(there))
        other = await stack.enter_async_context(tablet(here))
        for operator in (one, other):
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda there: set(ids) <= set(there))
        chance = random.Random(7)
        wins = [0, 0]
        for _ in range(200):
            order = [chance.sample(ids, 50), chance.sample(ids, 25) + chance.sample(ids, 25)]
            first, second = await asyncio.gather(
                lock_many(one, order[0]), lock_many(other, order[1])
            )
            assert set(first["locked"]).isdisjoint(second["locked"])
            assert set(first["locked"]) | set(second["locked"]) == set(ids)
            wins[0] += len(first["locked"])
            wins[1] += len(second["locked"])
            for winner in (one, other):
                await winner.ask(
                    catalogue.TABLET_UNLOCK_ALL_DEVICES,
                    catalogue.ON_ALL_DEVICES_UNLOCKED,
                    timeout_s=BUSY_S,
                )
                winner.forget()
        assert all(wins), wins
        # Both nodes end up of one mind.
        for viewer in (one, other):
            await viewer.gets(
                catalogue.ON_DEVICE_LOCKS_UPDATED,
                lambda rows: all({"deviceId": name, "isLocked": False} in rows for name in ids),
                timeout_s=BUSY_S,
            )


# 52 clients in this process hear of every change: on a busy machine that takes its time.
BUSY_S = 30.0


async def lock_many(operator: Client, ids: list[str]) -> Any:
    return await operator.ask(
        catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, ids, timeout_s=BUSY_S
    )


async def test_a_tablet_that_moves_to_another_node_keeps_lock_and_session(pair: Pair) -> None:
    there, here = pair
    async with headset(there) as quest, tablet(there) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity]},
        )
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await operator.cut()
        async with tablet(here, operator.identity) as moved:
            await quest.gets(
                catalogue.ON_DEVICE_LOCKS_UPDATED,
                lambda rows: (
                    {
                        "deviceId": quest.identity,
                        "isLocked": True,
                        "lockedByTabletId": moved.sid,
                    }
                    in rows
                ),
            )
            await frames_until(quest, moved)
            active = await moved.ask(
                catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
            )
            assert active["sessionId"] == session
            await moved.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_of_a_tablets_two_sockets_on_two_nodes_either_leads(pair: Pair) -> None:
    """Both may command; when the newer one goes, the older one keeps the lock."""
    there, here = pair
    async with headset(there) as quest, tablet(there) as older:
        name = quest.identity
        async with tablet(here, older.identity) as newer:
            await newer.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: name in ids)
            await older.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, name)
            await older.gets(catalogue.ON_DEVICE_LOCKS_UPDATED, held_by(name, newer.sid))
            for number, operator in enumerate((older, newer, older)):
                command = (
                    catalogue.TABLET_STOP_RECORDING
                    if number % 2
                    else catalogue.TABLET_START_RECORDING
                )
                reply = await operator.call(command, name)
                assert reply["success"], reply
        await older.gets(catalogue.ON_DEVICE_LOCKS_UPDATED, held_by(name, older.sid))
        await frames_until(quest, older)


def held_by(device_id: str, sid: str) -> Callable[[Any], bool]:
    row = {"deviceId": device_id, "isLocked": True, "lockedByTabletId": sid}
    return lambda rows: row in rows


async def test_a_headset_that_identifies_on_another_node_takes_over(pair: Pair) -> None:
    there, here = pair
    async with headset(there) as old, tablet(there) as operator:
        name = old.identity
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, name)
        async with headset(here, name) as new:
            refusal = await old.gets(catalogue.ERROR)
            assert refusal["code"] == "REPLACED"
            await frames_until(new, operator)
            operator.forget()
            await old.send(catalogue.HEADSET_FRAME, "AAAA")
            assert await old.gets(catalogue.ERROR, lambda e: e["code"] == "NOT_IDENTIFIED")
            await old.socket.disconnect()
            await operator.call(catalogue.TABLET_START_RECORDING, name)
            await new.gets(catalogue.ON_TABLET_START_RECORDING)
            assert old.seen(catalogue.ON_TABLET_START_RECORDING) == []


async def test_two_servers_in_one_data_directory_are_refused(
    three: list[Server], valkey_url: str
) -> None:
    """They would have one name, and be one node to the others."""
    there = three[0]
    second = Server(there.data_dir, REDIS_URL=valkey_url)
    second.log = there.data_dir.parent / "second.log"
    process = second.spawn()
    assert await asyncio.to_thread(process.wait, 60) != 0
    assert "in use by another server" in second.log.read_text()


async def test_a_frame_crosses_only_to_the_node_that_watches(three: list[Server]) -> None:
    there, here, third = three
    async with headset(there) as quest, tablet(here) as operator, tablet(third) as idle:
        for client in (operator, idle):
            await client.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)
        before = [await metrics_of(server) for server in three]
        for _ in range(10):
            await quest.send(catalogue.HEADSET_FRAME, "AAAA")
        await quest.settled()
        unwatched = [await metrics_of(server) for server in three]
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        await frames_until(quest, operator)
        watched = [await metrics_of(server) for server in three]
    assert grown(before, unwatched, SENT) == [0, 0, 0]
    sent, received = grown(unwatched, watched, SENT), grown(unwatched, watched, RECEIVED)
    assert sent[0] >= 1
    assert sent[1:] == [0, 0]
    assert received[1] >= 1
    assert (received[0], received[2]) == (0, 0)
    assert grown(unwatched, watched, "turing_bus_sent_bytes_total")[0] > sent[0]
    assert {numbers["turing_nodes_alive"] for numbers in watched} == {3}


SENT = 'turing_bus_messages_total{direction="out"}'
RECEIVED = 'turing_bus_messages_total{direction="in"}'


def grown(before: list[dict[str, float]], after: list[dict[str, float]], name: str) -> list[float]:
    """By how much a counter grew on each node."""
    return [new[name] - old[name] for old, new in zip(before, after, strict=True)]


async def metrics_of(server: Server) -> dict[str, float]:
    async with server.http() as http:
        lines = (await http.get("/metrics")).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
