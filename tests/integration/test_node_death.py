"""Servers die, and Valkey goes away: what was true before is true again, within the grace."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cluster import TROUBLE, Cable, frames_until, is_recording, nodes, store
from lab import until
from support import Client, Server, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio


async def test_a_killed_nodes_headsets_and_tablets_get_their_grace(
    tmp_path: Path, valkey_url: str
) -> None:
    with nodes(tmp_path, 3, valkey_url, TABLET_GRACE_SECONDS="4") as (dying, second, third):
        async with (
            headset(dying) as returns, headset(dying) as stays_away, headset(second) as orphan,
            tablet(second) as operator, tablet(dying) as lost, tablet(third) as other,
        ):  # fmt: skip
            mine = {returns.identity, stays_away.identity}
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: mine <= set(ids))
            await lost.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: orphan.identity in ids)
            await operator.ask(
                catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, sorted(mine)
            )
            created = await lost.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [orphan.identity]},
            )
            await lost.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, created["sessionId"]
            )
            await orphan.send(catalogue.HEADSET_RECORDING_STATE, True)
            operator.forget()
            dying.kill()
            # Marked offline, with the locks kept.
            await operator.gets(
                catalogue.ON_HEADSETS_UPDATED, lambda ids: not mine & set(ids), timeout_s=10
            )
            await operator.gets(catalogue.ON_HEADSET_DISCONNECTED)
            await other.gets(
                catalogue.ON_DEVICE_LOCKS_UPDATED,
                lambda rows: mine <= {r["deviceId"] for r in rows if r["isLocked"]},
            )
            async with headset(third, returns.identity) as back:
                reply = await operator.call(catalogue.TABLET_START_RECORDING, back.identity)
                assert reply["success"], reply
                await back.gets(catalogue.ON_TABLET_START_RECORDING)
                await frames_until(back, operator)
                # The graces end: of the headset that stays away, of the tablet with its session.
                gone = await operator.gets(catalogue.ON_DEVICE_DISCONNECTED, timeout_s=10)
                assert gone == {"deviceId": stays_away.identity}
                await orphan.gets(catalogue.ON_TABLET_STOP_RECORDING, timeout_s=10)
                await orphan.gets(
                    catalogue.ON_SESSION_ENDED,
                    lambda body: body["sessionId"] == created["sessionId"],
                )
                await other.gets(
                    catalogue.ON_DEVICE_LOCKS_UPDATED,
                    lambda rows: {"deviceId": orphan.identity, "isLocked": False} in rows,
                )
                await operator.gets(
                    catalogue.ON_DEVICE_LOCKS_UPDATED,
                    lambda rows: any(
                        row["deviceId"] == returns.identity and row["isLocked"] for row in rows
                    ),
                )
        name = (dying.data_dir / "node-id").read_text().strip()
        logs = second.log.read_text() + third.log.read_text()
        assert (
            len([line for line in logs.splitlines() if "node_died" in line and name in line]) == 1
        )


@pytest.mark.parametrize("how", ["hangs", "is killed"])
async def test_valkey_goes_away_for_ten_seconds(tmp_path: Path, how: str) -> None:
    with (
        store(tmp_path / "store") as valkey,
        nodes(
            tmp_path, 2, valkey.url, TABLET_GRACE_SECONDS="5"
        ) as (one, two),
    ):  # fmt: skip
        async with (
            headset(one) as quest, tablet(one) as operator, headset(two) as far,
            headset(two) as leaver, tablet(two) as other,
        ):  # fmt: skip
            name = quest.identity
            every = {name, far.identity, leaver.identity}
            for client in (operator, other):
                await client.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: every <= set(ids))
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [name, far.identity]},
            )
            session = created["sessionId"]
            await operator.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session
            )
            await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
            await operator.gets(catalogue.ON_DEVICE_RECORDING_CHANGED, is_recording(name))

            went = time.monotonic()
            valkey.signal(signal.SIGSTOP) if how == "hangs" else valkey.kill()
            for _ in range(3):
                other.forget()
                asked = time.monotonic()
                await other.send(catalogue.TABLET_LOCK_DEVICE, leaver.identity)
                refusal = await other.gets(catalogue.ERROR)
                assert refusal["code"] == "UNAVAILABLE"
                assert time.monotonic() - asked < 2
            await frames_until(quest, operator)  # on one node
            async with one.http() as http:
                health = await http.get("/health")
                assert health.status_code == 503
                assert "valkey" in health.json()["error"]
                metrics = (await http.get("/metrics")).text
                assert 'turing_dependency_up{name="valkey"} 0.0' in metrics
            # Things go on happening meanwhile.
            await leaver.socket.disconnect()
            await quest.send(catalogue.HEADSET_RECORDING_STATE, False)
            async with headset_unheard(two) as newcomer:
                await asyncio.sleep(max(0.0, 10 - (time.monotonic() - went)))
                operator.forget()
                other.forget()
                valkey.signal(signal.SIGCONT) if how == "hangs" else valkey.start()
                now_here = {name, far.identity, newcomer.identity}
                for client in (operator, other):
                    await client.gets(
                        catalogue.ON_HEADSETS_UPDATED,
                        lambda ids: set(ids) == now_here,
                        timeout_s=10,
                    )
                # The session goes on, and what was said while Valkey was away is known.
                async with two.http(operator.identity) as http:
                    async with asyncio.timeout(10):
                        while await recording_of(http, session, name):  # noqa: ASYNC110 - polled
                            await asyncio.sleep(0.1)
                ended = await operator.ask(
                    catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session
                )
                assert ended["sessionId"] == session
                await far.gets(catalogue.ON_SESSION_ENDED)
                await other.ask(
                    catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, newcomer.identity
                )
                for server in (one, two):
                    async with server.http() as http:
                        assert (await http.get("/health")).status_code == 200
        assert "node_died" not in one.log.read_text() + two.log.read_text()


async def test_a_grace_does_not_end_with_an_outage(tmp_path: Path) -> None:
    """Whoever came back while Valkey was away could not say so, and must not lose everything."""
    with (
        store(tmp_path / "store") as valkey,
        nodes(tmp_path, 2, valkey.url, TABLET_GRACE_SECONDS="2") as (one, two),
    ):
        async with headset(one) as quest, tablet(one) as operator:
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [quest.identity]},
            )
            await operator.socket.disconnect()
            await quest.settled()
            valkey.signal(signal.SIGSTOP)
            async with tablet(two, operator.identity) as back:
                await asyncio.sleep(3)
                valkey.signal(signal.SIGCONT)
                async with asyncio.timeout(10):
                    active = None
                    while active is None:
                        try:
                            active = await back.ask(
                                catalogue.TABLET_GET_ACTIVE_SESSION,
                                catalogue.ON_ACTIVE_SESSION,
                                timeout_s=1,
                            )
                        except TimeoutError:  # refused: the store is not back yet
                            continue
                        assert active is not None, "its session was ended"
                assert active["sessionId"] == created["sessionId"]
                await asyncio.sleep(3)
                assert back.seen(catalogue.ON_SESSION_ENDED) == []


async def test_a_tablets_new_socket_leads_when_the_old_one_closed_in_an_outage(
    tmp_path: Path,
) -> None:
    with store(tmp_path / "store") as valkey, nodes(tmp_path, 1, valkey.url) as (one,):
        async with headset(one) as quest, tablet(one) as old:
            await old.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)
            await old.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
            valkey.kill()
            async with tablet(one, old.identity) as new:
                await old.socket.disconnect()
                await asyncio.sleep(4)
                new.forget()
                valkey.start()
                await new.gets(
                    catalogue.ON_DEVICE_LOCKS_UPDATED,
                    lambda rows: any(row.get("lockedByTabletId") == new.sid for row in rows),
                    timeout_s=20,
                )


async def test_a_headset_that_moved_in_an_outage_is_found_when_its_old_server_misses_it_last(
    tmp_path: Path,
) -> None:
    with (
        store(tmp_path / "store") as valkey,
        nodes(tmp_path, 2, valkey.url, NODE_TIMEOUT_SECONDS="24") as (early, late),
    ):
        async with headset(late) as quest, tablet(early) as operator:
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [quest.identity]},
            )
            valkey.kill()
            async with headset_unheard(early, quest.identity) as moved:
                await quest.socket.disconnect()
                await asyncio.sleep(0.5)  # the old server hears of it, and cannot say so
                assert late.process is not None
                late.process.send_signal(signal.SIGSTOP)
                try:
                    valkey.start()
                    await until(lambda: _back(early), 20)
                finally:
                    late.process.send_signal(signal.SIGCONT)
                await moved.gets(catalogue.ON_HEADSET_CONNECTED, timeout_s=10)
                await operator.ask(
                    catalogue.TABLET_START_SESSION,
                    catalogue.ON_SESSION_STARTED,
                    created["sessionId"],
                )
                await moved.gets(catalogue.ON_TABLET_START_RECORDING)


async def _back(server: Server) -> bool:
    return "state_store_back" in server.log.read_text()


@contextlib.asynccontextmanager
async def headset_unheard(server: Server, identity: str = "") -> AsyncIterator[Client]:
    """A headset that identifies while nobody can note it."""
    async with Client(server, DeviceType.HEADSET, identity) as quest:
        await quest.send(catalogue.HEADSET_IDENTIFY, quest.identity)
        refusal = await quest.gets(catalogue.ERROR)
        assert refusal["code"] == "UNAVAILABLE"
        yield quest


async def recording_of(http: httpx.AsyncClient, session: str, device_id: str) -> bool:
    body = (await http.get(f"/api/sessions/{session}")).json()["session"]
    parts = {part["deviceId"]: part for part in body["deviceStatuses"]}
    return bool(parts[device_id]["isRecording"])


async def test_a_node_that_stops_sends_its_clients_away_and_sessions_go_on(
    tmp_path: Path, valkey_url: str
) -> None:
    with nodes(tmp_path, 2, valkey_url, DRAIN_SECONDS="3") as (leaving, staying):
        async with contextlib.AsyncExitStack() as stack:
            quests = [await stack.enter_async_context(headset(leaving)) for _ in range(12)]
            operator = await stack.enter_async_context(tablet(leaving))
            watcher = await stack.enter_async_context(tablet(staying))
            ids = [quest.identity for quest in quests]
            await watcher.gets(catalogue.ON_HEADSETS_UPDATED, lambda there: set(ids) <= set(there))
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_CREATED, {"deviceIds": ids}
            )
            session = created["sessionId"]
            await operator.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session
            )
            for quest in quests:
                await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
                await quest.settled()
            moved: list[tuple[float, Client]] = []

            async def move(client: Client) -> None:
                await client.socket.wait()
                went = time.monotonic()
                back = await stack.enter_async_context(
                    headset(staying, client.identity)
                    if client.kind is DeviceType.HEADSET
                    else tablet(staying, client.identity)
                )
                moved.append((went, back))
                if client.kind is DeviceType.HEADSET:
                    await back.send(catalogue.HEADSET_RECORDING_STATE, True)
                    await back.settled()

            # It takes no new connections: what it says of itself is heard on an old one.
            http = await stack.enter_async_context(leaving.http())
            assert (await http.get("/health")).status_code == 200
            assert leaving.process is not None
            leaving.process.terminate()
            stopped_at = time.monotonic()
            moves = [asyncio.create_task(move(client)) for client in (*quests, operator)]
            async with asyncio.timeout(2):
                while (await http.get("/health")).status_code != 503:  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.02)
            await asyncio.gather(*moves)
            took = [went - stopped_at for went, _ in moved]
            assert max(took) - min(took) > 2, took
            assert await asyncio.to_thread(leaving.process.wait, 15 - max(took)) in (0, -15)

            back = [client for _, client in moved]
            for client in (*quests, *back):
                assert client.seen(catalogue.ON_TABLET_STOP_RECORDING) == []
                assert client.seen(catalogue.ON_SESSION_ENDED) == []
            (lead,) = [client for client in back if client.kind is DeviceType.TABLET]
            active = await lead.ask(
                catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
            )
            assert active["sessionId"] == session
            await lead.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            for client in back:
                if client.kind is DeviceType.HEADSET:
                    await client.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_a_node_that_is_cut_off_from_valkey_comes_back_to_one_truth(
    tmp_path: Path, valkey_url: str
) -> None:
    async with Cable(valkey_url.removeprefix("unix://")) as cable:
        cut = Server(
            tmp_path / "cut",
            REDIS_URL=cable.url,
            NODE_TIMEOUT_SECONDS="2",
            TABLET_GRACE_SECONDS="20",
        )
        with nodes(tmp_path, 1, valkey_url, TABLET_GRACE_SECONDS="20") as (whole,):
            await asyncio.to_thread(cut.start)
            try:
                await _cut_off(cable, cut, whole)
            finally:
                cable.plug()
                await asyncio.to_thread(cut.stop)
    log = cut.log.read_text()
    assert not [trouble for trouble in TROUBLE if trouble in log], log


async def _cut_off(cable: Cable, cut: Server, whole: Server) -> None:
    async with (
        headset(cut) as stays, headset(cut) as moves, headset(whole) as far,
        tablet(cut) as recorder, tablet(whole) as operator, tablet(whole) as other,
    ):  # fmt: skip
        both = {stays.identity, moves.identity}
        await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: both <= set(ids))
        await recorder.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: far.identity in ids)
        await operator.ask(catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, sorted(both))
        created = await recorder.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [far.identity]},
        )
        session = created["sessionId"]
        await recorder.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await far.send(catalogue.HEADSET_RECORDING_STATE, True)
        await recorder.gets(catalogue.ON_DEVICE_RECORDING_CHANGED, is_recording(far.identity))
        operator.forget()

        cable.pull()
        # The whole node takes the other for dead, and goes on.
        await operator.gets(
            catalogue.ON_HEADSETS_UPDATED, lambda ids: not both & set(ids), timeout_s=15
        )
        async with cut.http() as http:
            assert (await http.get("/health")).status_code == 503
        async with headset(whole, moves.identity) as moved:
            reply = await operator.call(catalogue.TABLET_START_RECORDING, moves.identity)
            assert reply["success"], reply
            await moved.gets(catalogue.ON_TABLET_START_RECORDING)
            # What is done meanwhile is not lost for those behind the cut.
            await far.send(catalogue.HEADSET_RECORDING_STATE, False)
            await far.settled()
            operator.forget()
            recorder.forget()

            cable.plug()
            await operator.gets(
                catalogue.ON_HEADSETS_UPDATED, lambda ids: both <= set(ids), timeout_s=15
            )
            refusal = await moves.gets(catalogue.ERROR, timeout_s=10)
            assert refusal["code"] == "REPLACED"
            await recorder.gets(
                catalogue.ON_DEVICE_RECORDING_CHANGED,
                lambda body: body == {"deviceId": far.identity, "isRecording": False},
                timeout_s=10,
            )
            for device_id in both:
                refused = await other.ask(
                    catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCK_FAILED, device_id
                )
                assert refused["reason"] == "Device locked by another tablet"
                other.forget()
            reply = await operator.call(catalogue.TABLET_START_RECORDING, stays.identity)
            assert reply["success"], reply
            await stays.gets(catalogue.ON_TABLET_START_RECORDING)
            await frames_until(stays, operator)
            await recorder.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            await far.gets(catalogue.ON_SESSION_ENDED)


async def test_a_server_stops_in_good_order_while_valkey_is_away(tmp_path: Path) -> None:
    with store(tmp_path / "store") as valkey, nodes(tmp_path, 1, valkey.url) as (one,):
        async with headset(one) as quest, Client(one, DeviceType.DASHBOARD) as desk:
            await desk.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
            valkey.signal(signal.SIGSTOP)
            await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.5})
            await desk.gets(catalogue.ON_DEVICE_TELEMETRY_UPDATED)
            assert one.process is not None
            one.process.terminate()
            assert await asyncio.to_thread(one.process.wait, 15) == -signal.SIGTERM
        valkey.signal(signal.SIGCONT)
    # ``nodes`` looks for tracebacks in the log.
