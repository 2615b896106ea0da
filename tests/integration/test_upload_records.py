"""What the state store decides of uploads, on Valkey 9 and on Redis 7."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as redis

from quest_backend.clock import Clock
from quest_backend.fleet.sessions import Action, advance
from quest_backend.protocol.limits import DEVICE_STATE_TTL_S, LOCK_TTL_S, SESSION_TTL_S
from quest_backend.protocol.recordings import FileType, PartPlan, following
from quest_backend.state import keys
from quest_backend.state.fleet import FleetStore
from quest_backend.state.sessions import SessionStore
from quest_backend.state.valkey import Valkey
from quest_backend.storage import records as module
from quest_backend.storage.records import UploadBusy, UploadRecord, UploadRecords

pytestmark = pytest.mark.asyncio

STAMP = "20260206_143052"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[UploadRecords, SessionStore, FleetStore]]:
    constants = {
        "device_ttl": DEVICE_STATE_TTL_S,
        "session_ttl": SESSION_TTL_S,
        "lock_ttl": LOCK_TTL_S,
    }
    clock, valkey = Clock(), Valkey(url, 2, constants)
    sessions = SessionStore(valkey, clock)
    try:
        yield (
            UploadRecords(valkey, sessions, clock, 3600),
            sessions,
            FleetStore(valkey, clock, "node-1", grace_s=60),
        )
    finally:
        await valkey.close()


def record(upload_id: str, file_type: FileType, session_id: str = "s1") -> UploadRecord:
    return UploadRecord(
        upload_id, STAMP, file_type, "Q1", STAMP, PartPlan(100, 60), "nonce", 1, session_id
    )


async def test_fifty_headsets_of_one_second_get_fifty_folders(store_url: str) -> None:
    """From two nodes at once; the same headset always gets the same one."""
    async with opened(store_url) as (one, _, _), opened(store_url) as (other, _, _):
        seconds = following(STAMP, 300)
        for _ in range(2):
            folders = await asyncio.gather(
                *((one, other)[n % 2].reserve(f"Q{n % 50}", STAMP, seconds, {}) for n in range(100))
            )
            assert set(folders) == set(seconds[:50])
            assert folders[:50] == folders[50:]


async def test_what_the_bucket_holds_is_taken_unless_it_is_ones_own(store_url: str) -> None:
    async with opened(store_url) as (records, _, _):
        seconds = following(STAMP, 3)
        known = {seconds[0]: "?", seconds[1]: f"Q1:{STAMP}"}
        assert await records.reserve("Q2", STAMP, seconds, known) == seconds[2]
        assert await records.reserve("Q1", STAMP, seconds, known) == seconds[1]
        assert await records.reserve("Q3", STAMP, seconds, known) is None


async def test_full_spans_are_remembered(store_url: str) -> None:
    async with opened(store_url) as (records, _, _):
        assert await records.full_spans([]) == set()
        await records.mark_full("20260206_143500")
        spans = ["20260206_143000", "20260206_143500"]
        assert await records.full_spans(spans) == {"20260206_143500"}


async def test_of_two_starts_of_one_file_one_wins(store_url: str) -> None:
    async with opened(store_url) as (records, _, _):
        won = await asyncio.gather(
            *(records.claim(record(f"u{n}", FileType.VIDEO, ""), "") for n in range(5))
        )
        assert sum(won) == 1
        winner = await records.upload_of(STAMP, FileType.VIDEO)
        assert await records.claim(record("next", FileType.VIDEO, ""), "other") is False
        assert await records.claim(record("next", FileType.VIDEO, ""), winner) is True
        assert await records.load(winner) is None
        assert await records.open_uploads() == ["next"]
        assert await records.load("next") == record("next", FileType.VIDEO, "")


async def test_a_devices_part_is_all_its_files_by_bytes(store_url: str) -> None:
    """Each change has a higher revision, so that a late answer is known to be late."""
    async with opened(store_url) as (records, sessions, fleet):
        await fleet.tablet_here("TABLET_1", "sock-t")
        await fleet.identify("Q1", "sock-h")
        await sessions.create("s1", "TABLET_1", ["Q1"], {})
        await records.claim(record("v", FileType.VIDEO), "")
        await records.claim(record("d", FileType.DATA), "")
        seen = []
        for upload_id, change in (
            ("v", {"part": (1, 60)}),
            ("v", {"part": (1, 60)}),  # the same part again
            ("d", {"stored_bytes": 50}),
            ("v", {"state": "completed"}),
            ("d", {"state": "completed"}),
        ):
            still_open, part = await records.note(upload_id, **change)
            assert still_open
            assert part is not None
            seen.append((part.status, part.progress, part.revision))
        assert [(status, progress) for status, progress, _ in seen] == [
            ("uploading", 60),  # of the video alone, until the data have been begun
            ("uploading", 60),
            ("uploading", 55),
            ("uploading", 75),
            ("completed", 100),
        ]
        revisions = [revision for _, _, revision in seen]
        assert revisions == sorted(set(revisions))
        assert await records.note("v", part=(2, 40)) == (False, None)
        assert await records.count_open() == 0


async def test_a_change_of_status_makes_a_decision_about_the_session_stale(store_url: str) -> None:
    """Else one node could mark a session as uploading whose last upload has just ended."""
    async with opened(store_url) as (records, sessions, fleet):
        await fleet.tablet_here("TABLET_1", "sock-t")
        await fleet.identify("Q1", "sock-h")
        await sessions.create("s1", "TABLET_1", ["Q1"], {})
        pending = await sessions.load("s1")
        assert pending is not None
        await sessions.save(pending, advance(pending, Action.END, Clock().iso()))
        await records.claim(record("v", FileType.VIDEO), "")
        await records.note("v", stored_bytes=0)
        decided_on = await sessions.load("s1")
        assert decided_on is not None
        await records.note("v", stored_bytes=50)  # more of the same decides nothing anew
        assert await sessions.load("s1") == decided_on
        await records.note("v", state="aborted")
        after = advance(decided_on, Action.UPLOAD, Clock().iso())
        assert await sessions.save(decided_on, after) is None
        now = await sessions.load("s1")
        assert now is not None
        assert now.status == "completed"


async def test_only_one_at_a_time_ends_an_upload(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 0.1)
    async with opened(store_url) as (one, _, _), opened(store_url) as (other, _, _):
        async with one.alone("u"):
            with pytest.raises(UploadBusy):
                await other.alone("u").__aenter__()
        async with other.alone("u"):
            pass


async def test_who_ends_an_upload_keeps_the_right_to_it_and_a_dead_server_loses_it(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_S", 0.6)
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 1.5)
    async with opened(store_url) as (one, _, _), opened(store_url) as (other, _, _):
        async with one.alone("u"):
            with pytest.raises(UploadBusy):
                await other.alone("u").__aenter__()
        async with redis.Redis.from_url(store_url) as client:
            await client.set(keys.upload_lock("u"), "dead", px=600)
        async with other.alone("u"):
            pass
