"""QA of 10,000 small recordings in a bucket by two workers, and again when nothing is new.

The bucket is the embedded S3, the queue the embedded Valkey; both workers are processes of their
own (``quest-backend worker``), started before the clock. A recording has a minute of hands at 60
per second and a real video of a second. The first refresh scores all of them; the second finds
nothing new, so no job comes of it and no object is read: the time it takes is that of listing.

Usage: python benchmarks/qa_jobs.py [--sessions 10000]. Exit code 1 when a recording is missing or
scored twice, when the second refresh reads something, or a worker takes 512 MB.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from yarl import URL

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from recordings import arrays, npz

from quest_backend.clock import Clock
from quest_backend.jobs.service import QaJobs
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.settings import Settings
from quest_backend.simulator.recordings import Take, write_video
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.valkey import Valkey
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.s3 import ObjectStore
from quest_backend.storage.service import object_store

WORKERS, CONCURRENCY = 2, 4
FIRST = datetime(2026, 2, 6, tzinfo=UTC)
UPLOADS_AT_ONCE = 32
MOST_MIB = 512


async def fill(store: ObjectStore, count: int, folder: Path) -> None:
    """Write all recordings, by presigned PUTs."""
    video = folder / "video.mp4"
    write_video(Take("quest", FIRST, 1, seed=1), video)
    bodies = {FileType.DATA: npz(arrays(3600)), FileType.VIDEO: video.read_bytes()}
    signer, slots = await store.presigner(), asyncio.Semaphore(UPLOADS_AT_ONCE)
    async with aiohttp.ClientSession() as http:

        async def one(session_id: str) -> None:
            for file_type, body in bodies.items():
                path = f"/{store.bucket}/{key_of(session_id, file_type)}"
                url = signer.url("PUT", store.endpoint, path, {}, datetime.now(UTC), 3600)
                async with slots, http.put(URL(url, encoded=True), data=body) as answer:
                    answer.raise_for_status()

        ids = [f"{FIRST + timedelta(minutes=number):%Y%m%d_%H%M%S}" for number in range(count)]
        await asyncio.gather(*(one(session_id) for session_id in ids))


def worker(folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "workers.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quest_backend", "worker", "--data-dir", str(folder),
             "--concurrency", str(CONCURRENCY)],
            stdout=log, stderr=log, env={**os.environ, "LOG_LEVEL": "info"},
        )  # fmt: skip


def logged(folder: Path, event: str) -> int:
    return (folder / "workers.log").read_text().count(f'"event": "{event}"')


def peak_mib(process: "subprocess.Popen[bytes]") -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0


async def refreshed(jobs: QaJobs) -> float:
    """Seconds that a refresh takes."""
    started = time.perf_counter()
    assert await jobs.queue.request_refresh()
    while True:
        now = await jobs.queue.progress()
        if now.refreshing is None and not now.queued and not now.running:
            return time.perf_counter() - started
        assert not now.failed, await jobs.queue.dead(3)
        await asyncio.sleep(0.05)


async def measured(jobs: QaJobs, folder: Path, sessions: int) -> bool:
    processes = [worker(folder) for _ in range(WORKERS)]
    try:
        while logged(folder, "worker_started") < WORKERS:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)
        first = await refreshed(jobs)
        done = (await jobs.queue.progress()).done
        second = await refreshed(jobs)
        more = (await jobs.queue.progress()).done - done
        peak = max(peak_mib(process) for process in processes)
        kept = (await jobs.results.totals())[0].sessions
        print(f"ratio qa_jobs_sessions_per_second_of_{WORKERS}_workers {sessions / first:.0f}")
        print(f"ratio qa_jobs_second_refresh_recordings_read {more}")
        print(f"ratio qa_jobs_second_refresh_seconds {second:.2f}")
        print(f"ratio qa_jobs_worker_peak_mib {peak:.0f}")
        once = done == kept == logged(folder, "recording_scored") == sessions
        print(f"each of {sessions} scored once: {once}")
        return once and not more and peak < MOST_MIB
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


async def run(sessions: int, folder: Path) -> bool:
    valkey_child, s3_child = EmbeddedValkey(folder), EmbeddedS3(folder)
    url = await valkey_child.start()
    await s3_child.start()
    settings = Settings(data_dir=folder)
    store, valkey = object_store(settings, s3_child), Valkey(url, 5)
    try:
        await store.open()
        await store.make_bucket()
        started = time.perf_counter()
        await fill(store, sessions, folder)
        print(f"{sessions} recordings written in {time.perf_counter() - started:.0f} s")
        return await measured(QaJobs(settings, url, valkey, store, Clock()), folder, sessions)
    finally:
        await store.close()
        await valkey.close()
        await s3_child.stop()
        await valkey_child.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="QA jobs of a whole bucket by two workers.")
    parser.add_argument("--sessions", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(run(given.sessions, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
