"""QA's jobs with a real Valkey and a real S3: done once, whoever dies or is away."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from bucket import own_store, put, put_recordings, session_ids
from recordings import SESSION, arrays, npz

from quest_backend.clock import Clock
from quest_backend.jobs import scoring
from quest_backend.jobs.queue import QaQueue, Refreshing
from quest_backend.jobs.service import QaJobs
from quest_backend.jobs.worker import Worker, WorkerOptions
from quest_backend.protocol.recordings import FileType
from quest_backend.settings import Settings
from quest_backend.state import keys
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.valkey import StoreUnavailable, Valkey
from quest_backend.storage.s3 import ObjectStore, ObjectStoreUnavailable

pytestmark = pytest.mark.asyncio

SMALL = npz(arrays(60))
QUICK = WorkerOptions(concurrency=2, lease_s=1.5, attempts=3, first_s=0.05, longest_s=0.2)
SECONDS = 30.0


class Counted(ObjectStore):
    """The real store; counts its range reads, and can be away."""

    def __init__(self, store: ObjectStore) -> None:
        self.__dict__.update(store.__dict__)
        self.reads = 0
        self.lists = 0
        self.away = False
        self.hold: asyncio.Event | None = None

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        self.reads += 1
        if self.away:
            raise ObjectStoreUnavailable("pulled the plug")
        if self.hold is not None:
            await self.hold.wait()
        return await super().read_range(key, start, end, etag)


@pytest_asyncio.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[Counted]:
    async with own_store(tmp_path) as store:
        yield Counted(store)


@asynccontextmanager
async def jobs_at(url: str, store: ObjectStore) -> AsyncIterator[QaJobs]:
    valkey = Valkey(url, 2)
    try:
        yield QaJobs(Settings(), url, valkey, store, Clock())
    finally:
        await valkey.close()


@asynccontextmanager
async def working(jobs: QaJobs, options: WorkerOptions = QUICK) -> AsyncIterator[Worker]:
    worker = jobs.worker(options.concurrency, options)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def until(what: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Wait until something is so; polls, as another process makes it so."""
    deadline = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.02)


async def idle(queue: QaQueue, seconds: float = SECONDS) -> None:
    async def nothing_left() -> bool:
        now = await queue.progress()
        return not now.queued and not now.running and now.refreshing is None

    await until(nothing_left, seconds)


async def test_a_recording_is_scored_once_in_few_requests(store_url: str, bucket: Counted) -> None:
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        assert await jobs.queue.submit(SESSION)
        await idle(jobs.queue)
        found = await jobs.results.get(SESSION)
        assert found is not None
        assert found["stages"]["stage2_captureQuality"]["totalFrames"] == 60
        # Beside one listing of its folder.
        assert 1 <= bucket.reads <= 3
        # The same version is read once, however often it is asked for.
        before = bucket.reads
        await jobs.queue.submit(SESSION)
        await idle(jobs.queue)
        assert bucket.reads == before
        progress = await jobs.queue.progress()
        assert (progress.done, progress.failed) == (2, 0)
        assert (await jobs.results.totals())[0].sessions == 1


async def test_a_job_that_waits_is_not_put_twice(store_url: str, bucket: Counted) -> None:
    async with jobs_at(store_url, bucket) as jobs:
        asked = [await jobs.queue.submit(SESSION) for _ in range(3)]
        assert asked == [True, False, False]
        assert (await jobs.queue.progress()).queued == 1


async def test_a_refresh_reads_what_is_new_and_the_next_one_nothing(
    store_url: str, bucket: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps, over pages of a listing that cut recordings apart."""
    monkeypatch.setattr("quest_backend.jobs.bucket._PAGE_KEYS", 5)
    monkeypatch.setattr("quest_backend.jobs.refresh._STEP_JOBS", 4)
    ids = session_ids(13)
    await put_recordings(bucket, ids, SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        assert await jobs.queue.request_refresh()
        assert not await jobs.queue.request_refresh()
        await idle(jobs.queue)
        assert [each["sessionId"] for each in (await jobs.results.page()).sessions] == ids
        assert all(await asyncio.gather(*(jobs.results.get(each) for each in ids)))
        bucket.reads = 0
        assert await jobs.queue.request_refresh()
        await idle(jobs.queue)
        assert bucket.reads == 0
        # A new version, and a new recording.
        await put(bucket, ids[3], FileType.DATA, npz(arrays(90)))
        late = session_ids(14)[-1]
        await put_recordings(bucket, [late], SMALL, b"no video")
        assert await jobs.queue.request_refresh()
        await idle(jobs.queue)
        changed = await jobs.results.get(ids[3])
        assert changed is not None
        assert changed["stages"]["stage2_captureQuality"]["totalFrames"] == 90
        assert (await jobs.results.totals())[0].sessions == 14
        assert 2 <= bucket.reads <= 8


async def test_a_refresh_tells_how_far_it_is(store_url: str, bucket: Counted) -> None:
    await put_recordings(bucket, session_ids(5), SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs:
        bucket.hold = asyncio.Event()
        async with working(jobs):
            await jobs.queue.request_refresh()

            async def listed() -> bool:
                return (await jobs.queue.progress()).refreshing == Refreshing(0, 5)

            await until(listed)
            bucket.hold.set()
            await idle(jobs.queue)


async def test_what_fails_is_tried_again_and_then_listed_and_can_be_rerun(
    store_url: str, bucket: Counted
) -> None:
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        bucket.away = True
        await jobs.queue.submit(SESSION)

        async def dead() -> bool:
            return bool(await jobs.queue.dead())

        await until(dead)
        [job] = await jobs.queue.dead()
        assert (job.id, job.session_id, job.attempts) == (SESSION, SESSION, 3)
        assert "pulled the plug" in job.error
        assert job.at.endswith("Z")
        assert bucket.reads == 3
        assert (await jobs.queue.progress()).failed == 1
        bucket.away = False
        assert not await jobs.queue.retry("20200101_000000")
        assert await jobs.queue.retry(job.id)
        await idle(jobs.queue)
        assert await jobs.results.get(SESSION) is not None
        assert await jobs.queue.dead() == []
        assert not await jobs.queue.retry(job.id)


async def test_a_job_that_ends_its_workers_ends_itself(store_url: str, bucket: Counted) -> None:
    """Each worker dies without a word; the fifth does not even try."""
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs:
        await jobs.queue.submit(SESSION)
        with redis.Redis.from_url(store_url) as client:
            client.xgroup_create(keys.QA_JOBS, "qa", "0")
            [[_, [[entry, _]]]] = client.xreadgroup("qa", "first", {keys.QA_JOBS: ">"})
            for number in range(3):
                client.xclaim(keys.QA_JOBS, "qa", f"worker {number}", 0, [entry])
        async with working(jobs):
            await idle(jobs.queue)
            [job] = await jobs.queue.dead()
            assert "every worker" in job.error
            assert bucket.reads == 0
            # Nobody ever began it; it can be asked for all the same.
            assert await jobs.queue.retry(job.id)
            await idle(jobs.queue)
        assert await jobs.results.get(SESSION) is not None


async def test_the_first_file_waits_for_the_second(
    store_url: str, bucket: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No one is told that a video is missing while it is on its way."""
    await put(bucket, SESSION, FileType.DATA, SMALL)
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        await jobs.queue.submit(SESSION)

        async def put_off() -> bool:
            with redis.Redis.from_url(store_url) as client:
                return bool(client.zcard(keys.QA_LATER) == 1)

        await until(put_off)
        assert await jobs.results.get(SESSION) is None
        await put(bucket, SESSION, FileType.VIDEO, b"no video")
        await jobs.queue.submit(SESSION)

        async def scored() -> bool:
            return await jobs.results.get(SESSION) is not None

        await until(scored)
        # One that never comes is missing in the end.
        monkeypatch.setattr(scoring, "_PAIR_WAIT_MS", 0)
        alone = session_ids(2)[1]
        await put(bucket, alone, FileType.DATA, SMALL)
        await jobs.queue.submit(alone)

        async def missing() -> bool:
            found = await jobs.results.get(alone)
            problems = found["extended"]["problems"] if found else []
            return any(each["code"] == "MISSING_VIDEO" for each in problems)

        await until(missing)


async def test_a_recording_replaced_after_its_listing_is_scored_as_it_is(
    store_url: str, bucket: Counted
) -> None:
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs:
        bucket.hold = asyncio.Event()
        async with working(jobs):
            await jobs.queue.request_refresh()

            async def reading() -> bool:
                return bucket.reads > 0

            await until(reading)
            await put(bucket, SESSION, FileType.DATA, npz(arrays(90)))
            bucket.hold.set()
            await idle(jobs.queue)
        found = await jobs.results.get(SESSION)
        assert found is not None
        assert found["stages"]["stage2_captureQuality"]["totalFrames"] == 90


async def test_large_recordings_are_read_in_full(store_url: str, bucket: Counted) -> None:
    frames = 2_200_000  # more than 2 MiB per array
    await put_recordings(bucket, [SESSION], npz(arrays(frames)), b"no video")
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        await jobs.queue.submit(SESSION)
        await idle(jobs.queue)
        found = await jobs.results.get(SESSION)
        assert found is not None
        assert found["stages"]["stage2_captureQuality"]["totalFrames"] == frames


async def test_a_worker_that_stops_gives_its_jobs_back(store_url: str, bucket: Counted) -> None:
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs:
        bucket.hold = asyncio.Event()
        async with working(jobs, replace(QUICK, finish_s=0.05)):
            await jobs.queue.submit(SESSION)

            async def reading() -> bool:
                return bucket.reads > 0

            await until(reading)
        assert (await jobs.queue.progress()).queued == 1
        bucket.hold = None
        async with working(jobs):
            await idle(jobs.queue)
        assert await jobs.results.get(SESSION) is not None


def spawned(folder: Path, url: str) -> "subprocess.Popen[bytes]":
    """``quest-backend worker``, as a user starts it, in the place of a server's own."""
    base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quest_backend", "worker", "--concurrency", "2",
             "--data-dir", str(folder)],
            env={**base, "REDIS_URL": url}, stdout=log, stderr=log,
        )  # fmt: skip


async def test_the_jobs_of_a_killed_worker_are_done_by_another_once(
    store_url: str, bucket: Counted, tmp_path: Path
) -> None:
    ids = session_ids(60)
    await put_recordings(bucket, ids, SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs:
        process = spawned(tmp_path, store_url)
        try:
            await jobs.queue.request_refresh()

            async def midway() -> bool:
                now = await jobs.queue.progress()
                return now.done >= 5 and now.running > 0

            await until(midway)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        held = (await jobs.queue.progress()).running
        assert held > 0
        async with working(jobs):
            await idle(jobs.queue)
        assert len((await jobs.results.page()).sessions) == 60
        assert (await jobs.results.totals())[0].sessions == 60
        assert await jobs.queue.dead() == []


async def test_a_worker_goes_on_after_valkey_was_away(bucket: Counted, tmp_path: Path) -> None:
    """Its own Valkey is killed and comes back, with what was accepted."""
    valkey = EmbeddedValkey(tmp_path / "away")
    url = await valkey.start()
    ids = session_ids(6)
    await put_recordings(bucket, ids, SMALL, b"no video")
    try:
        async with jobs_at(url, bucket) as jobs, working(jobs):
            bucket.hold = asyncio.Event()
            await jobs.queue.submit(ids[0])

            async def reading() -> bool:
                return bucket.reads > 0

            await until(reading)
            await valkey.stop()
            # What was running ends while there is nobody to tell.
            bucket.hold.set()
            await asyncio.sleep(3)  # longer than a lease and every timeout
            assert await valkey.start() == url

            async def refreshing() -> bool:
                # Right after an outage calls are refused without being tried.
                with contextlib.suppress(StoreUnavailable):
                    return await jobs.queue.request_refresh()
                return False

            await until(refreshing)
            await idle(jobs.queue)
            assert (await jobs.results.totals())[0].sessions == 6
    finally:
        await valkey.stop()


async def test_a_queue_that_was_lost_with_its_store_begins_anew(
    store_url: str, bucket: Counted
) -> None:
    await put_recordings(bucket, [SESSION], SMALL, b"no video")
    async with jobs_at(store_url, bucket) as jobs, working(jobs):
        await jobs.queue.submit(SESSION)
        await idle(jobs.queue)
        with redis.Redis.from_url(store_url) as client:
            client.flushall()
        await jobs.queue.submit(SESSION)
        await idle(jobs.queue)
        assert await jobs.results.get(SESSION) is not None
