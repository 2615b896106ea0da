"""Several real servers on one Valkey: nobody notices which one has the headset."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import Client, Server, dashboard, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import Outbound

pytestmark = pytest.mark.asyncio

Pair = list[Server]
TROUBLE = ("event_failed", "packet_failed", "background_work_failed", "change_failed",
           "bus_message_left", "Traceback", "request_failed")  # fmt: skip


def nodes(folder: Path, count: int, url: str, **env: str) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        running = []
        for number in range(count):
            server = Server(
                folder / f"node{number}", REDIS_URL=url, NODE_TIMEOUT_SECONDS="2", **env
            )
            stack.callback(_stop, server)
            running.append(server)
        for server in running:
            server.spawn()
        for server in running:
            server.wait()
        yield running
    for server in running:
        log = server.log.read_text()
        for trouble in TROUBLE:
            assert trouble not in log, log


def _stop(server: Server) -> None:
    if server.process is not None and server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[list[Server]]:
    yield from nodes(tmp_path_factory.mktemp("pair"), 2, valkey_url)


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


def is_recording(device_id: str) -> Callable[[Any], bool]:
    return lambda body: body == {"deviceId": device_id, "isRecording": True}


async def frames_until(
    quest: Client, viewer: Client, event: Outbound = catalogue.ON_HEADSET_FRAME_UPDATED
) -> None:
    """Send frames until the viewer has one: that it watches takes a moment to get around."""
    async with asyncio.timeout(5):
        while not viewer.seen(event):
            await quest.send(catalogue.HEADSET_FRAME, "AAAA")
            await asyncio.sleep(0.04)


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
