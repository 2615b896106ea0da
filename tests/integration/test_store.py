"""The state store, on Valkey 9 and on Redis 7."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from quest_backend.clock import Clock
from quest_backend.fleet.sessions import Action, Session, advance
from quest_backend.protocol.limits import DEVICE_STATE_TTL_S, LOCK_TTL_S, SESSION_TTL_S
from quest_backend.state.fleet import FleetStore
from quest_backend.state.nodes import NodeRegistry
from quest_backend.state.sessions import SessionStore
from quest_backend.state.telemetry import TelemetryWriter
from quest_backend.state.valkey import StoreUnavailable, Valkey

pytestmark = pytest.mark.asyncio


class Store:
    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self.valkey = valkey
        self.fleet = FleetStore(valkey, clock, "node-1", grace_s=60)
        self.sessions = SessionStore(valkey, clock)
        self.telemetry = TelemetryWriter(valkey, clock)

    async def ttl(self, key: str) -> int:
        return int(await self.valkey.call(self.valkey.client.ttl(key)))

    async def get(self, key: str) -> object:
        return await self.valkey.call(self.valkey.client.get(key))


class SetClock(Clock):
    def __init__(self) -> None:
        self.ms = 1_770_388_252_000

    def unix_ms(self) -> int:
        return self.ms


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[Store]:
    constants = {
        "device_ttl": DEVICE_STATE_TTL_S,
        "session_ttl": SESSION_TTL_S,
        "lock_ttl": LOCK_TTL_S,
    }
    valkey = Valkey(url, 2, constants)
    try:
        yield Store(valkey, clock or Clock())
    finally:
        await valkey.close()


async def session_s(store: Store) -> Session:
    """The session "s" as it is stored."""
    found = await store.sessions.load("s")
    assert found is not None
    return found


async def test_keys_types_and_lifetimes_are_the_schemas(store_url: str) -> None:
    async with opened(store_url) as store:
        client = store.valkey.client
        await store.fleet.tablet_here("TABLET_1", "sock-t")
        await store.fleet.identify("Q1", "sock-h")
        await store.fleet.lock("TABLET_1", ["Q1"])
        store.telemetry.put("Q1", {"batteryLevel": 0.5}, Clock().iso(), "")
        await store.telemetry.flush()
        await store.sessions.create("session_1_x", "TABLET_1", ["Q1"], {"a": 1})
        device = await store.valkey.call(client.hgetall("device:Q1"))
        assert device["isOnline"] == "1"
        assert device["lockedByTabletId"] == "sock-t"
        assert device["lockedAt"].endswith("Z")
        assert await store.get("lock:Q1") == "sock-t"
        assert await store.valkey.call(client.smembers("tablet_locks:sock-t")) == {"Q1"}
        assert await store.get("telemetry:Q1") == '{"batteryLevel":0.5}'
        session = await store.valkey.call(client.hgetall("session:session_1_x"))
        assert session["deviceIds"] == '["Q1"]'
        assert session["status"] == "pending"
        for key, lifetime in (("device:Q1", 86400), ("lock:Q1", 7200), ("telemetry:Q1", 300),
                              ("session:session_1_x", 604800)):  # fmt: skip
            assert lifetime - 5 < await store.ttl(key) <= lifetime, key
        assert await store.ttl("tablet_locks:sock-t") == -1


async def test_telemetry_of_a_large_fleet_is_written_with_the_newest_of_each(
    store_url: str,
) -> None:
    """More than one script takes."""
    ids = [f"Q{number:03d}" for number in range(250)]
    clock = SetClock()
    async with opened(store_url, clock) as store:
        for session_id, level in (("", 0.25), ("session_1_x", 0.5)):
            for number, device_id in enumerate(ids):
                sent = {"batteryLevel": level, "deviceName": "Gerät „1“\0", "frameCount": number}
                store.telemetry.put(device_id, sent, f"seen {level}", session_id)
        await store.telemetry.flush()
        client = store.valkey.client
        for number in (0, 99, 100, 249):
            device_id = ids[number]
            kept = orjson.loads(str(await store.get(f"telemetry:{device_id}")))
            assert kept["batteryLevel"] == 0.5
            assert kept["deviceName"] == "Gerät „1“\0"
            assert 295 < await store.ttl(f"telemetry:{device_id}") <= 300
            assert await store.valkey.call(client.hget(f"device:{device_id}", "lastSeen")) == (
                "seen 0.5"
            )
            assert await store.valkey.call(client.zscore("devices", device_id)) == clock.ms
            frames = client.hget("session_devices:session_1_x", f"{device_id}:frameCount")
            assert await store.valkey.call(frames) == str(number)
        assert await store.valkey.call(client.zcard("devices")) == 250


async def test_telemetry_waits_while_the_store_is_away() -> None:
    async with opened("redis://127.0.0.1:1/0") as store:
        store.telemetry.put("Q1", {"batteryLevel": 0.5}, Clock().iso(), "")
        for _ in range(2):  # a second flush has it still
            with pytest.raises(StoreUnavailable):
                await store.telemetry.flush()


async def test_racing_batches_never_both_win(store_url: str) -> None:
    ids = [f"Q{number}" for number in range(50)]
    async with opened(store_url) as one, opened(store_url) as other:
        await one.fleet.tablet_here("T1", "s1")
        await other.fleet.tablet_here("T2", "s2")
        for device_id in ids:
            await one.fleet.identify(device_id, f"h-{device_id}")
        for _ in range(30):
            (a, _), (b, _) = await asyncio.gather(
                one.fleet.lock("T1", ids), other.fleet.lock("T2", ids[::-1])
            )
            won = [x in ("free", "mine") for x in a]
            lost = [x in ("free", "mine") for x in b[::-1]]
            assert all(mine != theirs for mine, theirs in zip(won, lost, strict=True))
            await one.fleet.unlock("T1")
            await other.fleet.unlock("T2")
            assert await one.fleet.held("s1") == []


async def test_late_goodbye_of_a_replaced_socket_changes_nothing(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.identify("Q1", "old")
        await store.fleet.identify("Q1", "new")
        assert await store.fleet.headset_gone("Q1", "old") is None
        assert (await store.fleet.read(["Q1"]))["Q1"].is_online
        assert await store.fleet.report_recording("Q1", "old", recording=True) is None


async def test_graces_are_claimed_once(store_url: str) -> None:
    clock = SetClock()
    async with opened(store_url, clock) as store:
        await store.fleet.tablet_here("T1", "s1")
        await store.fleet.identify("Q1", "h1")
        await store.fleet.lock("T1", ["Q1"])
        assert await store.fleet.tablet_gone("T1", "not the lead") == "stale"
        assert await store.fleet.tablet_gone("T1", "s1") == "grace"
        clock.ms += 59_000
        assert await store.fleet.due_tablets() == []
        clock.ms += 1_000
        claims = await asyncio.gather(*(store.fleet.due_tablets() for _ in range(5)))
        assert max(claims, key=len) == [("T1", "s1")]
        assert sum(map(len, claims)) == 1


async def test_a_returning_tablet_gets_its_locks_under_its_new_socket(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "s1")
        await store.fleet.identify("Q1", "h1")
        await store.fleet.lock("T1", ["Q1"])
        await store.sessions.create("session_2", "T1", ["Q1"], {})
        await store.fleet.tablet_gone("T1", "s1")
        here = await store.fleet.tablet_here("T1", "s2")
        assert [device.locked_by for device in here.moved] == ["s2"]
        assert here.session_ids == ("session_2",)
        assert await store.get("lock:Q1") == "s2"
        assert await store.fleet.held("s1") == []
        session = await store.sessions.load("session_2")
        assert session is not None
        assert session.tablet_id == "s2"
        assert await store.fleet.due_tablets() == []


async def test_of_two_saves_from_the_same_state_one_is_refused(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "s1")
        await store.fleet.identify("Q1", "h1")
        await store.sessions.create("session_3", "T1", ["Q1"], {})
        before = await store.sessions.load("session_3")
        assert before is not None
        now = Clock().iso()
        saves = await asyncio.gather(
            store.sessions.save(before, advance(before, Action.START, now)),
            store.sessions.save(before, advance(before, Action.END, now)),
        )
        assert [save is None for save in saves].count(True) == 1


async def test_history_keeps_one_sample_per_five_minutes(store_url: str) -> None:
    clock = SetClock()
    async with opened(store_url, clock) as store:
        await store.fleet.sample_history("Q1", {"n": 1})
        await store.fleet.sample_history("Q1", {"n": 2})
        assert await store.fleet.history("Q1") == [{"n": 1}]
        clock.ms += 25 * 3600 * 1000
        assert await store.fleet.history("Q1") == []


async def test_long_offline_devices_leave_the_fleet_but_keep_their_names(store_url: str) -> None:
    clock = SetClock()
    async with opened(store_url, clock) as store:
        await store.fleet.identify("Q1", "h1")
        await store.fleet.rename("Q1", "Bench 1")
        clock.ms += 8 * 86_400_000
        limit = clock.ms - 7 * 86_400_000
        assert await store.fleet.forget_offline_since(limit) == []  # it is online, if silent
        await store.fleet.headset_gone("Q1", "h1")
        assert await store.fleet.forget_offline_since(limit) == ["Q1"]
        assert await store.fleet.load_all() == []
        assert (await store.fleet.identify("Q1", "h2")).custom_name == "Bench 1"


async def test_a_store_that_is_away_is_a_clear_error() -> None:
    async with opened("redis://127.0.0.1:1/0") as store:
        with pytest.raises(StoreUnavailable):
            await store.fleet.identify("Q1", "h1")


@pytest.mark.parametrize(
    ("recording", "before", "command", "told"),
    [
        (False, "", "start", True),
        (True, "", "start", False),
        (False, "", "stop", False),
        (True, "", "stop", True),
        # The opposite is still under way, or was lost.
        (False, "start", "stop", True),
        (True, "stop", "start", True),
        (False, "start", "start", True),
    ],
)
async def test_who_is_told(
    store_url: str, recording: bool, before: str, command: str, told: bool
) -> None:
    async with opened(store_url) as store:
        await store.fleet.identify("Q1", "q")
        await store.fleet.report_recording("Q1", "q", recording)
        if before:
            assert await store.fleet.command(["Q1"], before)
        rows = await store.fleet.command(["Q1", "AWAY"], command)
        assert [row.device_id for row in rows] == (["Q1"] if told else [])


async def test_a_stop_that_was_not_answered_is_remembered(store_url: str) -> None:
    """The connection may have died with it, and the headset be recording still."""
    async with opened(store_url) as store:
        await store.fleet.identify("Q1", "old")
        await store.fleet.report_recording("Q1", "old", True)
        await store.fleet.command(["Q1"], "stop")
        await store.fleet.report_recording("Q1", "old", True)  # said before the stop arrived
        await store.fleet.headset_gone("Q1", "old")
        assert (await store.fleet.identify("Q1", "new")).commanded == "stop"
        answered = await store.fleet.report_recording("Q1", "new", False)
        assert answered is not None
        assert answered.commanded == ""


async def test_an_answer_to_the_stop_before_is_none_to_a_start(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.identify("Q1", "q")
        await store.fleet.command(["Q1"], "start")
        said = await store.fleet.report_recording("Q1", "q", False)
        assert said is not None
        assert said.commanded == "start"
        assert await store.fleet.command(["Q1"], "stop"), "it may be about to start"
        said = await store.fleet.report_recording("Q1", "q", False)
        assert said is not None
        assert said.commanded == ""


async def test_a_start_that_was_not_answered_goes_with_its_connection(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.identify("Q1", "old")
        await store.fleet.command(["Q1"], "start")
        await store.fleet.headset_gone("Q1", "old")
        assert (await store.fleet.identify("Q1", "new")).commanded == ""


async def test_who_records_when_its_session_ends_is_to_stop_whichever_socket_it_has(
    store_url: str,
) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "t")
        await store.fleet.identify("Q1", "old")
        await store.sessions.create("s", "T1", ["Q1"], {})
        await store.fleet.report_recording("Q1", "old", True)
        pending = await session_s(store)
        ended = advance(pending, Action.END, "2026-02-06T14:30:52.000Z")
        await store.sessions.save(pending, ended, "stop")
        assert (await store.fleet.identify("Q1", "new")).commanded == "stop"


async def test_what_a_sessions_headsets_are_told_is_committed_with_it(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "t")
        for device_id in ("Q1", "Q2", "Q3"):
            await store.fleet.identify(device_id, device_id.lower())
        await store.sessions.create("s", "T1", ["Q1", "Q2"], {})
        pending = await session_s(store)
        started = advance(pending, Action.START, Clock().iso())
        # Q2 does it already; Q3 is in no session of theirs.
        await store.fleet.report_recording("Q2", "q2", True)
        saved = await store.sessions.save(pending, started, "start")
        assert saved is not None
        assert [(d.device_id, d.commanded) for d in saved.told] == [("Q1", "start")]
        now = await store.fleet.read(["Q1", "Q2", "Q3"])
        assert [now[one].commanded for one in ("Q1", "Q2", "Q3")] == ["start", "", ""]


async def test_a_session_gives_back_what_it_locked_in_the_step_that_ends_it(
    store_url: str,
) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "t")
        for device_id in ("Q1", "Q2"):
            await store.fleet.identify(device_id, device_id.lower())
        await store.fleet.lock("T1", ["Q1"])
        await store.sessions.create("s", "T1", ["Q1", "Q2"], {})
        pending = await session_s(store)
        saved = await store.sessions.save(pending, advance(pending, Action.END, Clock().iso()))
        assert saved is not None
        assert {d.device_id: d.locked_by for d in saved.devices} == {"Q1": "t", "Q2": ""}
        assert await store.fleet.held("t") == ["Q1"]


async def test_who_is_away_at_a_start_is_not_to_stop_any_more(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "t")
        await store.fleet.identify("Q1", "old")
        await store.sessions.create("s", "T1", ["Q1"], {})
        await store.fleet.report_recording("Q1", "old", True)
        await store.fleet.command(["Q1"], "stop")  # of a pause, and lost
        await store.fleet.headset_gone("Q1", "old")
        pending = await session_s(store)
        started = advance(pending, Action.START, Clock().iso())
        saved = await store.sessions.save(pending, started, "start")
        assert saved is not None
        assert saved.told == ()
        assert (await store.fleet.identify("Q1", "new")).commanded == "start"


async def test_a_headset_is_not_told_what_its_session_does_not_say_any_more(
    store_url: str,
) -> None:
    async with opened(store_url) as store:
        await store.fleet.tablet_here("T1", "t")
        await store.fleet.identify("Q1", "q")
        await store.sessions.create("s", "T1", ["Q1"], {})
        device = (await store.fleet.read(["Q1"]))["Q1"]
        assert await store.fleet.command_as_read(device, "paused", "stop") is None
        told = await store.fleet.command_as_read(device, "pending", "stop")
        assert told is not None
        assert told.commanded == "stop"
        # Nor when it was told something else meanwhile.
        assert await store.fleet.command_as_read(device, "pending", "start") is None


@pytest.mark.parametrize("taken", [False, True])
async def test_a_headset_that_is_back_after_its_grace_is_in_again_with_the_next_start(
    store_url: str, taken: bool
) -> None:
    clock = SetClock()
    async with opened(store_url, clock) as store:
        await store.fleet.tablet_here("T1", "t")
        await store.fleet.tablet_here("T2", "other")
        await store.fleet.identify("Q1", "old")
        await store.sessions.create("s", "T1", ["Q1"], {})
        await store.fleet.headset_gone("Q1", "old")
        clock.ms += 3_600_000
        await store.fleet.headset_expired("Q1")
        back = await store.fleet.identify("Q1", "new")
        assert (back.session_id, back.locked_by, back.commanded) == ("", "", "stop")
        if taken:
            await store.fleet.lock("T2", ["Q1"])
        pending = await session_s(store)
        started = advance(pending, Action.START, clock.iso())
        saved = await store.sessions.save(pending, started, "start")
        assert saved is not None
        assert [d.device_id for d in saved.told] == ([] if taken else ["Q1"])
        now = (await store.fleet.read(["Q1"]))["Q1"]
        assert (now.session_id, now.locked_by) == (("", "other") if taken else ("s", "t"))


async def test_who_moved_meanwhile_is_not_taken_back(store_url: str) -> None:
    async with opened(store_url) as store:
        assert await store.fleet.identify_instead("Q1", "first", "") is not None
        await store.fleet.headset_gone("Q1", "first")
        await store.fleet.identify("Q1", "moved")
        assert await store.fleet.identify_instead("Q1", "first", "first") is None
        assert (await store.fleet.read(["Q1"]))["Q1"].socket_id == "moved"


async def test_nobody_is_missed_any_more_on_a_node_that_is_back(store_url: str) -> None:
    async with opened(store_url) as store:
        node = NodeRegistry(store.valkey, Clock(), "back", 60)
        await store.fleet.identify("Q1", "q")
        await store.fleet.tablet_here("T1", "t")
        await node.beat()
        assert await store.fleet.headset_gone("Q1", "q", dead_node="back") is None
        assert await store.fleet.tablet_gone("T1", "t", dead_node="back") == "stale"
        assert await store.fleet.headset_gone("Q1", "q", dead_node="dead") is not None
        assert await store.fleet.tablet_gone("T1", "t", dead_node="dead") == "gone"


async def test_each_death_of_a_node_is_seen_to_once(store_url: str) -> None:
    async with opened(store_url) as store:
        one, two, dying = (
            NodeRegistry(store.valkey, Clock(), name, timeout_s)
            for name, timeout_s in (("one", 60), ("two", 60), ("dying", 0.05))
        )
        for _ in range(2):  # the second death is soon after the first
            await dying.beat()
            assert not await one.claim_dead("dying", 30)
            async with asyncio.timeout(5):
                while "dying" not in (await one.beat()).dead:  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.02)
            assert await one.claim_dead("dying", 30)
            assert not await two.claim_dead("dying", 30)
            await one.forget("dying")
            assert not await two.claim_dead("dying", 30)
