"""Statistics over a bucket of many objects, beside boto3's listing of the same bucket.

Prints ``ratio statistics_200000_objects`` (named by the number of objects): seconds of a whole pass
with all its numbers, over those of boto3 listing the bucket and adding up nothing. Each runs in a
process of its own, in turns; the better of two counts. Then the same pass in a running server:
what it does to the server's memory and to other requests meanwhile. On a busy machine the seconds
of CPU say more than the clock: of the process that lists, and of the store meanwhile.

Usage: python benchmarks/bucket_statistics.py [--objects 200000] [--listings 4]
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import obstore
import psutil
from botocore.config import Config
from obstore.store import S3Store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import ADMIN_KEY, Server

from quest_backend.storage import embedded, listing
from quest_backend.storage.bucket_report import summary
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.listing import BucketListing
from quest_backend.storage.s3 import ObjectStore

BUCKET = "turing-robotics-datahub"
WRITERS = 32
ROUNDS = 2


def ratio(name: str, value: float) -> None:
    print(f"ratio {name} {value:.4f}", flush=True)


def begin_peak_anew(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory_mib(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0


async def fill(data_dir: Path, objects: int) -> None:
    """Sessions of two files, a few minutes apart, with a month's pause in between."""
    credentials, endpoint = EmbeddedS3(data_dir).known()
    store = S3Store(
        BUCKET, endpoint=endpoint, region=embedded.REGION,
        access_key_id=credentials.access_key, secret_access_key=credentials.secret_key,
        virtual_hosted_style_request=False, client_options={"allow_http": True},
    )  # fmt: skip
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    left = iter(range(objects))

    async def work() -> None:
        for number in left:
            pause = timedelta(days=30) if number > objects // 3 else timedelta()
            moment = begin + timedelta(seconds=number // 2 * 311) + pause
            name = ("recording.mp4", "session_data.npz")[number % 2]
            key = f"sessions/{moment:%Y%m%d_%H%M%S}/{name}"
            await obstore.put_async(store, key, b"x" * (1 + number % 64), use_multipart=False)

    await asyncio.gather(*(work() for _ in range(WRITERS)))


async def count_ours(data_dir: Path) -> dict[str, float]:
    credentials, endpoint = EmbeddedS3(data_dir).known()
    store = ObjectStore(BUCKET, embedded.REGION, endpoint, credentials)
    await store.open()
    begin_peak_anew(os.getpid())
    before, started = memory_mib(os.getpid(), "VmRSS"), time.perf_counter()
    found = summary(await BucketListing(store).count(), "now")
    took = time.perf_counter() - started
    peak = memory_mib(os.getpid(), "VmHWM")
    await store.close()
    return _measured(took, before, peak, found.overview["totalFiles"])


def count_boto3(data_dir: Path) -> dict[str, float]:
    credentials, endpoint = EmbeddedS3(data_dir).known()
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=embedded.REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    begin_peak_anew(os.getpid())
    before, started = memory_mib(os.getpid(), "VmRSS"), time.perf_counter()
    objects = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        objects += len(page.get("Contents", []))
    took = time.perf_counter() - started
    return _measured(took, before, memory_mib(os.getpid(), "VmHWM"), objects)


def _measured(seconds: float, before: float, peak: float, objects: int) -> dict[str, float]:
    return {
        "seconds": seconds, "grown": peak - before, "peak": peak, "objects": objects,
        "cpu": time.process_time(),
    }  # fmt: skip


def apart(how: str, data_dir: Path, listings: int, store: psutil.Process) -> dict[str, float]:
    """One listing in a process of its own."""
    command = [
        sys.executable, __file__, "--only", how, "--data-dir", str(data_dir),
        "--listings", str(listings),
    ]  # fmt: skip
    before = cpu_of(store)
    found: dict[str, float] = json.loads(subprocess.check_output(command))
    return {**found, "store_cpu": cpu_of(store) - before}


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def store_of(server: Server) -> psutil.Process:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if child.name() == "weed")


def side_by_side(data_dir: Path, objects: int, listings: int, store: psutil.Process) -> None:
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for how in ("ours", "boto3"):
            found = apart(how, data_dir, listings, store)
            assert found["objects"] == objects, found
            if how not in best or found["seconds"] < best[how]["seconds"]:
                best[how] = found
    for how, found in best.items():
        print(
            f"{objects} objects, {how}: {found['seconds']:.2f} s, "
            f"memory +{found['grown']:.0f} MiB (peak {found['peak']:.0f} MiB); "
            f"CPU {found['cpu']:.1f} s, of the store {found['store_cpu']:.1f} s"
        )
    ratio(f"statistics_{objects}_objects", best["ours"]["seconds"] / best["boto3"]["seconds"])


async def in_the_server(server: Server) -> None:
    """A refresh, and then everything, while another client asks for something small."""
    assert server.process is not None
    pid = server.process.pid
    quiet = await longest_answer(server, asyncio.sleep(3))
    begin_peak_anew(pid)
    before = memory_mib(pid, "VmRSS")
    async with aiohttp.ClientSession(
        headers={"X-API-Key": ADMIN_KEY}, timeout=aiohttp.ClientTimeout(total=300)
    ) as http:
        started = time.perf_counter()
        waits = await longest_answer(server, refreshed(http, server))
        took, peak = time.perf_counter() - started, memory_mib(pid, "VmHWM")
        print(
            f"refresh in the server: {took:.2f} s, memory {before:.0f} MiB before, {peak:.0f} MiB "
            f"at its peak; {said(waits)} (quiet: {said(quiet)})"
        )
        started = time.perf_counter()
        waits = await longest_answer(server, whole(http, server))
        print(f"all statistics as JSON: {time.perf_counter() - started:.2f} s; {said(waits)}")
        started = time.perf_counter()
        await overview(http, server)
        print(f"overview: {(time.perf_counter() - started) * 1000:.1f} ms")


def said(waits: list[float]) -> str:
    waits.sort()
    p99 = waits[int(len(waits) * 0.99)]
    return f"other answers p99 {p99 * 1000:.1f} ms, longest {waits[-1] * 1000:.1f} ms"


async def refreshed(http: aiohttp.ClientSession, server: Server) -> None:
    state = ""
    while state != "fresh":
        async with http.post(f"{server.url}/api/s3-stats/refresh") as answer:
            assert answer.status == 200, await answer.text()
            state = (await answer.json())["state"]


async def whole(http: aiohttp.ClientSession, server: Server) -> None:
    # Not parsed: this process must not be what keeps the other request waiting.
    async with http.get(f"{server.url}/api/s3-stats") as answer:
        assert answer.status == 200, await answer.text()
        async for _ in answer.content.iter_any():
            pass


async def overview(http: aiohttp.ClientSession, server: Server) -> None:
    async with http.get(f"{server.url}/api/s3-stats/overview") as answer:
        assert answer.status == 200, await answer.text()


async def longest_answer(server: Server, meanwhile: Any) -> list[float]:
    """Seconds of each of the small requests that were answered ``meanwhile``."""
    waits: list[float] = []
    task = asyncio.ensure_future(meanwhile)
    async with aiohttp.ClientSession() as http:
        while not task.done():
            started = time.perf_counter()
            async with http.get(f"{server.url}/openapi-not-there") as answer:
                await answer.read()
            waits.append(time.perf_counter() - started)
            await asyncio.sleep(0.002)
    await task
    return waits


async def run(objects: int, listings: int = listing.READERS) -> None:
    """Fill a bucket and measure."""
    with tempfile.TemporaryDirectory(prefix="quest-bench-") as folder:
        server = Server(Path(folder), RATE_LIMIT_MULTIPLIER="1e3").start()
        try:
            started = time.perf_counter()
            await fill(server.data_dir, objects)
            print(f"filled with {objects} objects in {time.perf_counter() - started:.0f} s")
            await asyncio.to_thread(
                side_by_side, server.data_dir, objects, listings, store_of(server)
            )
            await in_the_server(server)
        finally:
            server.stop()


def main() -> None:
    """Run everything, or one listing for another process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=200_000)
    parser.add_argument("--listings", type=int, default=listing.READERS)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    listing.READERS = options.listings
    if options.only == "ours":
        print(json.dumps(asyncio.run(count_ours(options.data_dir))))
    elif options.only == "boto3":
        print(json.dumps(count_boto3(options.data_dir)))
    else:
        asyncio.run(run(options.objects, options.listings))


if __name__ == "__main__":
    main()
