"""Locks, recording and sessions, as tablets use them."""

import asyncio

import pytest
from support import Client, Server, dashboard, headset, new_id, tablet

from quest_backend.protocol import catalogue

pytestmark = pytest.mark.asyncio


async def test_a_lock_is_exclusive_and_repeatable(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as one, tablet(server) as other:
        for _ in range(2):
            await one.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        failed = await other.ask(
            catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCK_FAILED, quest.identity
        )
        assert failed["reason"] == "Device locked by another tablet"
        offline = await other.ask(
            catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCK_FAILED, "NOBODY_HERE"
        )
        assert offline["reason"] == "Device not online"
        await other.send(catalogue.TABLET_UNLOCK_DEVICE, quest.identity)
        await other.settled()
        await one.gets(
            catalogue.ON_DEVICE_LOCKS_UPDATED,
            lambda rows: {"deviceId": quest.identity, "isLocked": True,
                          "lockedByTabletId": one.sid} in rows,
        )  # fmt: skip
        await one.ask(catalogue.TABLET_UNLOCK_DEVICE, catalogue.ON_DEVICE_UNLOCKED, quest.identity)
        await other.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)


async def test_batches_racing_never_both_win(server: Server) -> None:
    async with (
        headset(server) as a, headset(server) as b, headset(server) as c,
        tablet(server) as one, tablet(server) as other,
    ):  # fmt: skip
        ids = [a.identity, b.identity, c.identity]
        for _ in range(15):
            mine, theirs = await asyncio.gather(
                one.ask(catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, ids),
                other.ask(catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, ids[::-1]),
            )
            assert sorted(mine["locked"] + theirs["locked"]) == sorted(ids)
            for client in (one, other):
                await client.ask(
                    catalogue.TABLET_UNLOCK_ALL_DEVICES, catalogue.ON_ALL_DEVICES_UNLOCKED
                )


@pytest.mark.parametrize("bad", [[], ["ok_device", 7], "no list", None, ["x"] * 2 + ["bad id"]])
async def test_a_bad_batch_locks_nothing(server: Server, bad: object) -> None:
    async with tablet(server) as operator:
        reply = await operator.ask(catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, bad)
        assert reply["locked"] == []
        assert reply["error"]


async def test_more_than_50_devices_are_refused(server: Server) -> None:
    async with tablet(server) as operator:
        reply = await operator.ask(
            catalogue.TABLET_LOCK_DEVICES,
            catalogue.ON_DEVICES_LOCKED,
            [f"D{number}" for number in range(51)],
        )
        assert len(reply["failed"]) == 51


async def test_an_offline_headset_frees_its_lock_and_the_holder_knows(server: Server) -> None:
    async with tablet(server) as operator:
        async with headset(server) as quest:
            await operator.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity
            )
        gone = await operator.gets(catalogue.ON_DEVICE_DISCONNECTED)
        assert gone == {"deviceId": quest.identity}
        await operator.gets(
            catalogue.ON_DEVICE_LOCKS_UPDATED,
            lambda rows: all(row["deviceId"] != quest.identity for row in rows),
        )


async def test_frames_go_to_watchers_only_and_not_back(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as one, tablet(server) as other:
        await one.ask(
            catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, quest.identity
        )
        await quest.send(catalogue.HEADSET_FRAME, "AAAA")
        assert await one.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == "AAAA"
        await quest.send(catalogue.HEADSET_STATUS, '{"s":1}')
        assert await one.gets(catalogue.ON_HEADSET_STATUS_UPDATED) == '{"s":1}'
        await quest.send(catalogue.HEADSET_LOGS_PROCESSED)
        await one.gets(catalogue.ON_HEADSET_LOGS_PROCESSED)
        await quest.gets(catalogue.ON_HEADSET_LOGS_PROCESSED)
        await other.settled()
        for client in (quest, other):
            assert not client.seen(catalogue.ON_HEADSET_FRAME_UPDATED)
            assert not client.seen(catalogue.ON_HEADSET_STATUS_UPDATED)
        await one.ask(
            catalogue.TABLET_DISCONNECT_HEADSET, catalogue.ON_HEADSET_DISCONNECTED, quest.identity
        )
        one.forget()
        await quest.send(catalogue.HEADSET_FRAME, "BBBB")
        await quest.settled()
        await one.settled()
        assert not one.seen(catalogue.ON_HEADSET_FRAME_UPDATED)


async def test_a_viewer_gets_the_newest_frame_at_most_every_33_ms(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as operator:
        await operator.ask(
            catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, quest.identity
        )
        for number in range(40):
            await quest.send(catalogue.HEADSET_FRAME, f"frame{number:02d}")
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        frames = operator.seen(catalogue.ON_HEADSET_FRAME_UPDATED)
        assert 2 <= len(frames) <= 40 * 0.05 / 0.033 / 2
        assert frames == sorted(frames)
        assert frames[-1] >= "frame38"


async def test_recording_is_commanded_explicitly(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as one, tablet(server) as other:
        await one.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        denied = await other.call(catalogue.TABLET_START_RECORDING, quest.identity)
        assert denied == {
            "success": False,
            "deviceId": quest.identity,
            "error": "Device locked by another tablet",
        }
        assert await other.gets(catalogue.ON_RECORDING_DENIED) == {"deviceId": quest.identity}
        await other.send(catalogue.TABLET_TOGGLE_RECORDING, quest.identity)
        await other.gets(catalogue.ON_RECORDING_TOGGLE_DENIED)

        started = await one.call(catalogue.TABLET_START_RECORDING, quest.identity)
        assert started == {"success": True, "deviceId": quest.identity}
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        changed = await one.gets(catalogue.ON_DEVICE_RECORDING_CHANGED)
        assert changed == {"deviceId": quest.identity, "isRecording": True}
        await one.gets(catalogue.ON_HEADSET_RECORDING_ACTIVE)
        await one.ask(
            catalogue.TABLET_GET_RECORDING_STATUS, catalogue.ON_RECORDING_ACTIVE, quest.identity
        )

        quest.forget()
        again = await one.call(catalogue.TABLET_START_RECORDING, quest.identity)
        assert again["success"]
        stopped = await one.call(catalogue.TABLET_STOP_ALL_RECORDING)
        assert stopped == {
            "success": True,
            "results": {quest.identity: {"success": True}},
            "stoppedCount": 1,
            "totalDevices": 1,
        }
        await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
        assert not quest.seen(catalogue.ON_TABLET_START_RECORDING)


async def test_a_stop_right_after_a_start_is_not_lost(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as operator:
        await operator.call(catalogue.TABLET_START_RECORDING, quest.identity)
        await operator.call(catalogue.TABLET_STOP_RECORDING, quest.identity)
        await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_a_command_that_is_not_followed_is_told_again_but_not_for_ever(
    server: Server,
) -> None:
    async with headset(server) as quest, headset(server) as broken, tablet(server) as operator:
        for one in (quest, broken):
            await operator.call(catalogue.TABLET_START_RECORDING, one.identity)
            await one.send(catalogue.HEADSET_RECORDING_STATE, one is broken)
        # The one says no, which may be older than the start; the other goes on.
        await operator.call(catalogue.TABLET_STOP_RECORDING, broken.identity)
        await asyncio.sleep(6)
        assert len(quest.seen(catalogue.ON_TABLET_START_RECORDING)) in (2, 3)
        assert len(broken.seen(catalogue.ON_TABLET_STOP_RECORDING)) in (2, 3)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await asyncio.sleep(12)
        assert len(quest.seen(catalogue.ON_TABLET_START_RECORDING)) in (2, 3)
        assert len(broken.seen(catalogue.ON_TABLET_STOP_RECORDING)) == 6
        await broken.send(catalogue.HEADSET_RECORDING_STATE, False)
        again = await operator.call(catalogue.TABLET_STOP_RECORDING, broken.identity)
        assert again["success"]
        await asyncio.sleep(5)
        assert len(broken.seen(catalogue.ON_TABLET_STOP_RECORDING)) == 6


async def test_metadata_reaches_only_what_the_tablet_may_control(server: Server) -> None:
    async with (
        headset(server) as mine, headset(server) as theirs,
        tablet(server) as one, tablet(server) as other,
    ):  # fmt: skip
        for client, quest in ((one, mine), (other, theirs)):
            await client.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity
            )
        await one.send(catalogue.TABLET_SYNC_METADATA, "to all of mine")
        assert await mine.gets(catalogue.ON_TABLET_METADATA_SYNCED) == "to all of mine"
        error = await one.ask(catalogue.TABLET_SYNC_METADATA, catalogue.ERROR, "x", theirs.identity)
        assert error["code"] == "FORBIDDEN"
        error = await one.ask(catalogue.TABLET_SYNC_METADATA, catalogue.ERROR, "x" * 102_401)
        assert error["code"] == "INVALID_METADATA"
        assert not theirs.seen(catalogue.ON_TABLET_METADATA_SYNCED)


async def test_a_session_from_creation_to_end(server: Server) -> None:
    async with headset(server) as a, headset(server) as b, tablet(server) as operator:
        ids = [a.identity, b.identity]
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [*ids, "OFFLINE_ONE"], "metadata": {"study": "S1"}},
        )
        session = created["sessionId"]
        assert created["deviceIds"] == ids
        assert created["unavailable"] == ["OFFLINE_ONE"]
        started = await operator.ask(
            catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session
        )
        for quest in (a, b):
            await quest.gets(catalogue.ON_TABLET_START_RECORDING)
            await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
            await quest.send(catalogue.DEVICE_TELEMETRY, {"frameCount": 321, "isRecording": True})
            await quest.settled()
        status = await operator.ask(
            catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session
        )
        assert status["status"] == "recording"
        assert [one["frameCount"] for one in status["deviceStatuses"]] == [321, 321]
        assert all(one["isRecording"] for one in status["deviceStatuses"])
        async with server.http(operator.identity) as http:
            shown = (await http.get(f"/api/sessions/{session}")).json()["session"]
            assert shown["metadata"] == {"study": "S1"}
            assert shown["deviceStatuses"][0]["deviceInfo"]["isOnline"]
            listed = (await http.get("/api/sessions")).json()["sessions"]
            row = next(row for row in listed if row["sessionId"] == session)
            assert row["status"] == "recording"
            assert row["deviceCount"] == 2

        await operator.ask(catalogue.TABLET_PAUSE_SESSION, catalogue.ON_SESSION_PAUSED, session)
        for quest in (a, b):
            await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
            await quest.send(catalogue.HEADSET_RECORDING_STATE, False)
            await quest.settled()
        again = await operator.ask(
            catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session
        )
        assert again["startedAt"] == started["startedAt"]
        ended = await operator.ask(
            catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session
        )
        assert ended["duration"] >= 0
        assert await a.gets(catalogue.ON_SESSION_ENDED) == {"sessionId": session}
        for event in (catalogue.TABLET_END_SESSION, catalogue.TABLET_START_SESSION):
            error = await operator.ask(event, catalogue.ON_SESSION_ERROR, session)
            assert error["sessionId"] == session
            assert "completed" in error["error"]
        active = await operator.ask(
            catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
        )
        assert active is None


async def test_session_errors(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as one, tablet(server) as other:
        nothing = await one.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_ERROR,
            {"deviceIds": ["OFFLINE_ONE"]},
        )
        assert nothing["unavailable"] == ["OFFLINE_ONE"]
        bad: object
        for bad in (None, {}, {"deviceIds": []}, {"deviceIds": "x"}, {"deviceIds": ["a b"]}):
            assert (
                await one.ask(catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_ERROR, bad)
            )["error"]
        created = await one.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity]},
        )
        theirs = await other.ask(
            catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ERROR, created["sessionId"]
        )
        assert theirs == {"error": "Not authorized", "sessionId": created["sessionId"]}
        unknown = await one.ask(
            catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_ERROR, "session_0_none"
        )
        assert unknown["error"] == "Session not found"
        taken = await other.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_ERROR,
            {"deviceIds": [quest.identity]},
        )
        assert taken["unavailable"] == [quest.identity]


async def _session(operator: Client, quest: Client) -> str:
    created = await operator.ask(
        catalogue.TABLET_CREATE_SESSION,
        catalogue.ON_SESSION_CREATED,
        {"deviceIds": [quest.identity]},
    )
    session: str = created["sessionId"]
    await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
    await quest.gets(catalogue.ON_TABLET_START_RECORDING)
    await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
    await quest.settled()
    return session


async def test_a_tablet_comes_back_to_its_locks_and_session(server: Server) -> None:
    async with headset(server) as quest:
        async with tablet(server) as operator:
            session = await _session(operator, quest)
            await operator.cut()
        async with tablet(server, operator.identity) as back:
            await back.gets(
                catalogue.ON_DEVICE_LOCKS_UPDATED,
                lambda rows: {"deviceId": quest.identity, "isLocked": True,
                              "lockedByTabletId": back.sid} in rows,
            )  # fmt: skip
            active = await back.ask(
                catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
            )
            assert active["sessionId"] == session
            assert active["status"] == "recording"
            await quest.send(catalogue.HEADSET_FRAME, "AAAA")
            await back.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
            assert not quest.seen(catalogue.ON_TABLET_STOP_RECORDING)
            await back.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)


async def test_a_tablet_that_stays_away_ends_its_session_cleanly(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as witness:
        async with tablet(server) as operator:
            session = await _session(operator, quest)
            await operator.cut()
        await quest.gets(catalogue.ON_TABLET_STOP_RECORDING, timeout_s=8)
        await quest.gets(catalogue.ON_SESSION_ENDED)
        witness.forget()
        await asyncio.sleep(0.5)
        await witness.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        async with server.http(witness.identity) as http:
            shown = (await http.get(f"/api/sessions/{session}")).json()["session"]
        assert shown["status"] == "completed"


async def test_a_headset_keeps_its_place_in_a_session(server: Server) -> None:
    async with tablet(server) as operator:
        async with headset(server) as quest:
            session = await _session(operator, quest)
            await quest.cut()
        await asyncio.sleep(0.3)
        assert not operator.seen(catalogue.ON_DEVICE_DISCONNECTED)
        async with headset(server, quest.identity) as back:
            await back.send(catalogue.HEADSET_RECORDING_STATE, False)
            await back.gets(catalogue.ON_TABLET_START_RECORDING)
            await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)


async def test_a_headset_that_still_records_is_not_told_again(server: Server) -> None:
    async with tablet(server) as operator:
        async with headset(server) as quest:
            session = await _session(operator, quest)
            await quest.cut()
        async with headset(server, quest.identity) as back:
            await back.send(catalogue.HEADSET_RECORDING_STATE, True)
            await asyncio.sleep(1.5)
            assert not back.seen(catalogue.ON_TABLET_START_RECORDING)
            await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            await back.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_a_headset_that_missed_the_end_is_stopped_on_return(server: Server) -> None:
    async with tablet(server) as operator:
        async with headset(server) as quest:
            session = await _session(operator, quest)
            await quest.cut()
        await asyncio.sleep(0.3)
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
        async with headset(server, quest.identity) as back:
            await back.send(catalogue.HEADSET_RECORDING_STATE, True)
            await back.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_a_headset_that_stays_away_loses_its_place(server: Server) -> None:
    async with tablet(server) as operator:
        async with headset(server) as quest:
            session = await _session(operator, quest)
            await quest.cut()
        gone = await operator.gets(catalogue.ON_DEVICE_DISCONNECTED, timeout_s=8)
        assert gone == {"deviceId": quest.identity}
        status = await operator.ask(
            catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session
        )
        assert status["deviceStatuses"][0]["isRecording"] is False
        async with headset(server, quest.identity) as back:
            # Nobody asks for what it records still; the next start takes it in again.
            await back.send(catalogue.HEADSET_RECORDING_STATE, True)
            await back.gets(catalogue.ON_TABLET_STOP_RECORDING)
            await back.send(catalogue.HEADSET_RECORDING_STATE, False)
            await back.settled()
            await operator.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session
            )
            await back.gets(catalogue.ON_TABLET_START_RECORDING)
            await back.send(catalogue.HEADSET_RECORDING_STATE, True)
            await back.settled()
            status = await operator.ask(
                catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session
            )
            assert status["deviceStatuses"][0]["isRecording"] is True
            await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            await back.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def test_snapshot_and_updates_equal_a_fresh_snapshot(server: Server) -> None:
    async with dashboard(server) as desk, tablet(server) as operator:
        await desk.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        async with headset(server) as a, headset(server) as b:
            await a.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.6})
            await operator.ask(
                catalogue.TABLET_LOCK_DEVICES,
                catalogue.ON_DEVICES_LOCKED,
                [a.identity, b.identity],
            )
            await b.send(catalogue.HEADSET_RECORDING_STATE, True)
            await b.settled()
            async with server.http(operator.identity) as http:
                await http.post(f"/api/devices/{a.identity}/name", json={"customName": "A"})
        await operator.gets(catalogue.ON_DEVICE_DISCONNECTED,
                            lambda device: device["deviceId"] == a.identity)  # fmt: skip
        await operator.gets(catalogue.ON_DEVICE_DISCONNECTED,
                            lambda device: device["deviceId"] == b.identity)  # fmt: skip
        await desk.settled()
        async with dashboard(server, new_id("desk")) as fresh:
            snapshot = await fresh.ask(
                catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED
            )
        folded = {row["deviceId"]: row for row in desk.seen(catalogue.ON_FLEET_STATUS_UPDATED)[0]}
        for row in desk.seen(catalogue.ON_DEVICE_TELEMETRY_UPDATED):
            folded[row["deviceId"]] = row
        assert folded == {row["deviceId"]: row for row in snapshot}
