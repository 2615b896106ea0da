"""The bucket's statistics over several nodes, on real Valkey and Redis, and of a real bucket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from quest_backend.clock import Clock
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey
from quest_backend.storage import embedded, listing
from quest_backend.storage.bucket_report import session_rows
from quest_backend.storage.bucket_stats import BucketStats, StatsNotReady
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.listing import BucketListing
from quest_backend.storage.s3 import ObjectStore, ObjectStoreUnavailable
from quest_backend.storage.stats_records import StatsRecords
from quest_backend.storage.tally import Tally, session_id

pytestmark = pytest.mark.asyncio

VIDEO = "sessions/20260206_143052/recording.mp4"
DATA = "sessions/20260206_143052/session_data.npz"


class Bucket:
    """A bucket whose listing takes as long as a test wants."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.passes = 0
        self.reading = 0
        self.most_at_once = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.trouble = ""

    async def count(self, read: Callable[[int], None]) -> Tally:
        self.passes += 1
        self.reading += 1
        self.most_at_once = max(self.most_at_once, self.reading)
        tally = Tally()
        try:
            for key, size in sorted(self.objects.items()):
                tally.put(key, size, datetime.now(UTC))
            read(len(self.objects))
            self.begun.set()
            await self.may_end.wait()
            if self.trouble:
                raise ObjectStoreUnavailable(self.trouble)
            return tally
        finally:
            self.reading -= 1

    def hold(self) -> None:
        self.begun.clear()
        self.may_end.clear()


@asynccontextmanager
async def node(url: str, bucket: Bucket) -> AsyncIterator[tuple[BucketStats, Valkey]]:
    valkey = Valkey(url, 2)
    stats = BucketStats(bucket, StatsRecords(valkey), Clock())
    try:
        yield stats, valkey
    finally:
        await stats.close()
        await valkey.close()


async def files(stats: BucketStats) -> int:
    return (await stats.view(5)).summary.overview["totalFiles"]


async def grow_old(valkey: Valkey) -> None:
    """The last pass was six minutes ago."""
    state = await StatsRecords(valkey).state()
    await valkey.call(
        valkey.client.hset(keys.S3_STATS, "updatedMs", str(state.now_ms - 6 * 60 * 1000))
    )


async def test_one_node_at_a_time_reads_and_all_know(store_url: str) -> None:
    bucket = Bucket()
    bucket.objects = {VIDEO: 10, "a.txt": 1}
    async with node(store_url, bucket) as (one, _), node(store_url, bucket) as (other, _):
        found = await asyncio.gather(*(files(each) for each in (one, other, one, other)))
        assert found == [2, 2, 2, 2]
        assert bucket.passes == 1
        await asyncio.gather(*(each.refresh(10) for each in (one, other) * 5))
        assert bucket.most_at_once == 1
        assert bucket.passes <= 3, "those who ask at once share a pass"
        assert (await other.status()).state == "fresh"


async def test_a_refresh_is_of_what_was_there_when_it_was_asked_for(store_url: str) -> None:
    """One that comes in the middle of a pass waits for another pass."""
    bucket = Bucket()
    async with node(store_url, bucket) as (one, _), node(store_url, bucket) as (other, _):
        bucket.hold()
        first = asyncio.create_task(one.refresh(10))
        await bucket.begun.wait()
        bucket.objects["late.zip"] = 5
        second = asyncio.create_task(other.refresh(10))
        assert (await other.status()).state == "refreshing"
        bucket.may_end.set()
        await asyncio.gather(first, second)
        assert bucket.passes == 2
        assert await files(one) == await files(other) == 1


async def test_old_numbers_are_served_while_they_are_read_anew(store_url: str) -> None:
    bucket = Bucket()
    bucket.objects = {VIDEO: 10}
    async with node(store_url, bucket) as (stats, valkey):
        assert await files(stats) == 1
        bucket.objects["b.zip"] = 1
        assert await files(stats) == 1
        assert bucket.passes == 1, "they are known for five minutes"
        await grow_old(valkey)
        assert (await stats.status()).state == "stale"
        bucket.hold()
        assert await files(stats) == 1
        await bucket.begun.wait()
        assert (await stats.status()).state == "refreshing"
        assert await files(stats) == 1
        bucket.may_end.set()
        async with asyncio.timeout(5):
            while (await stats.status()).state != "fresh":  # noqa: ASYNC110 - in Valkey
                await asyncio.sleep(0.01)
        assert await files(stats) == 2
        assert bucket.passes == 2


async def test_uploads_count_at_once_on_every_node_and_never_twice(store_url: str) -> None:
    bucket = Bucket()
    async with node(store_url, bucket) as (one, _), node(store_url, bucket) as (other, _):
        assert await files(one) == await files(other) == 0
        await one.stored(VIDEO, 10)
        await one.stored(VIDEO, 10)
        assert await files(one) == await files(other) == 1
        await other.stored(DATA, 5)
        bucket.objects = {VIDEO: 10}
        bucket.hold()
        refreshing = asyncio.create_task(one.refresh(10))
        await bucket.begun.wait()
        # Finished during the pass, one seen by the listing and one not.
        await other.stored(VIDEO, 10)
        await other.stored(DATA, 6)
        bucket.may_end.set()
        await refreshing
        for each in (one, other):
            view = await each.view(5)
            assert view.summary.overview["totalFiles"] == 2
            assert view.summary.overview["totalSizeBytes"] == 16
        await one.removed(DATA)
        assert await files(other) == 1


async def test_a_failed_pass_leaves_what_was_known_and_is_not_repeated_unasked(
    store_url: str,
) -> None:
    bucket = Bucket()
    async with node(store_url, bucket) as (stats, valkey):
        bucket.trouble = "the bucket is away"
        with pytest.raises(StatsNotReady, match="the bucket is away"):
            await stats.view(5)
        bucket.trouble = ""
        bucket.objects = {VIDEO: 10}
        await stats.refresh(5)
        bucket.trouble = "away again"
        with pytest.raises(ObjectStoreUnavailable, match="away again"):
            await stats.refresh(5)
        assert (await stats.status()).error == "away again"
        await grow_old(valkey)
        before = bucket.passes
        assert [await files(stats) for _ in range(5)] == [1] * 5
        assert bucket.passes == before
        bucket.trouble = ""
        await stats.refresh(5)
        assert (await stats.status()).error == ""


async def test_the_first_look_does_not_wait_for_ever(store_url: str) -> None:
    bucket = Bucket()
    async with node(store_url, bucket) as (stats, _):
        bucket.hold()
        with pytest.raises(StatsNotReady, match="for the first time"):
            await stats.view(0.3)
        assert (await stats.refresh(0.3)).state == "refreshing"


async def test_a_pass_that_lost_its_lease_changes_nothing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a server which stood still for a while, when another one has begun."""
    monkeypatch.setattr("quest_backend.storage.bucket_stats._RENEW_S", 0.05)
    bucket = Bucket()
    bucket.objects = {VIDEO: 10}
    async with node(store_url, bucket) as (stats, valkey):
        bucket.hold()
        waiting = asyncio.create_task(stats.refresh(10))
        await bucket.begun.wait()
        await valkey.call(valkey.client.set(keys.S3_STATS_LEASE, "another server"))
        async with asyncio.timeout(5):
            while bucket.reading:  # noqa: ASYNC110 - until it has noticed
                await asyncio.sleep(0.01)
        state = await StatsRecords(valkey).state()
        assert (state.revision, state.error, state.refreshing) == ("", "", True)
        bucket.may_end.set()
        await valkey.call(valkey.client.delete(keys.S3_STATS_LEASE))
        assert (await waiting).state == "fresh"
        assert bucket.passes == 2
        assert await files(stats) == 1


async def test_a_stopped_server_leaves_the_bucket_to_others_at_once(store_url: str) -> None:
    bucket = Bucket()
    async with node(store_url, bucket) as (other, _):
        async with node(store_url, bucket) as (one, _):
            bucket.hold()
            with pytest.raises(StatsNotReady):
                await one.view(0.1)
            await bucket.begun.wait()
        bucket.may_end.set()
        assert (await other.refresh(5)).state == "fresh"


async def test_tables_of_any_size_come_back_as_they_were(store_url: str) -> None:
    """100,000 sessions are 6 MB, in many pieces; old tables do not stay."""
    bucket = Bucket()
    bucket.objects = {
        f"sessions/{session_id(20_250_101_000_000 + number)}/recording.mp4": number
        for number in range(100_000)
    }
    async with node(store_url, bucket) as (one, valkey), node(store_url, bucket) as (other, _):
        await one.refresh(30)
        await one.refresh(30)
        mine, theirs = await one.view(5), await other.view(5)
        assert theirs.tally == mine.tally
        assert theirs.summary.total == 100_000
        tables = [key async for key in valkey.client.scan_iter("s3_stats:table:*")]
        lifetimes = sorted([await valkey.call(valkey.client.ttl(key)) for key in tables])
        assert lifetimes[0] == -1
        assert all(0 < lifetime <= 60 for lifetime in lifetimes[1:])


@asynccontextmanager
async def bucket_of(tmp_path: Path, objects: dict[str, bytes]) -> AsyncIterator[ObjectStore]:
    """A real bucket with these objects."""
    child = EmbeddedS3(tmp_path)
    await child.start()
    store = ObjectStore("bucket", embedded.REGION, child.endpoint, child.credentials)
    try:
        await store.open()
        await store.make_bucket()
        client = plain_client(child)
        for key, body in objects.items():
            await asyncio.to_thread(client.put_object, Bucket="bucket", Key=key, Body=body)
        yield store
    finally:
        await store.close()
        await child.stop()


def plain_client(child: EmbeddedS3):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3",
        endpoint_url=child.endpoint,
        region_name=embedded.REGION,
        aws_access_key_id=child.credentials.access_key,
        aws_secret_access_key=child.credentials.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


async def test_every_object_of_a_real_bucket_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In stretches cut again and again, with names that are no recordings' around the borders."""
    monkeypatch.setattr(listing, "_SLICE", 20)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    objects = {}
    for number in range(300):
        folder = f"{begin + timedelta(seconds=number * number * 7):%Y%m%d_%H%M%S}"
        objects[f"sessions/{folder}/recording.mp4"] = b"v" * (number % 7)
        if number % 3:
            objects[f"sessions/{folder}/session_data.npz"] = b"d" * (number % 5)
    for key in ("client_output/ä 100%.zip", "a.txt", "sessions-old/x", "sessions.txt", "zz/z",
                "sessions/odd/recording.mp4", "sessions/!/x", "empty-folder/"):  # fmt: skip
        objects[key] = b"" if key.endswith("/") else b"12"
    async with bucket_of(tmp_path, objects) as store:
        heard: list[int] = []
        tally = await BucketListing(store).count(heard.append)
    assert tally.objects == len(objects) == sum(heard)
    assert tally.size == sum(map(len, objects.values()))
    rows = session_rows(tally, 0, 1000)
    assert len(rows) == 300
    in_sessions = sum(key.startswith("sessions/2026") for key in objects)
    assert sum(row["files"] for row in rows) == in_sessions
    assert list(tally.outputs) == ["ä 100%.zip"]


async def test_a_bucket_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    async with bucket_of(tmp_path, {}) as store:
        assert (await BucketListing(store).count()).objects == 0
        missing = ObjectStore("missing", store.region, store.endpoint, await store.credentials())
        with pytest.raises(ObjectStoreUnavailable, match="cannot be listed"):
            await BucketListing(missing).count()
