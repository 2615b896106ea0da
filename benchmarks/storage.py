"""Presigning, pass-through and what uploads do to everybody else.

Prints lines ``ratio NAME VALUE`` where there is a peer in the same run:

- ``presign_10000_parts``: our signer's time over the AWS SDK's for Node (getSignedUrl), or over
  boto3's when the SDK is not installed (then named ``presign_10000_parts_boto3``).
- ``pass_through_1GiB``: speed through our port over speed straight to the store, 8 connections.
- ``statistics_200000_objects``: see bucket_statistics.py.

Usage: python benchmarks/storage.py [--mib 1024] [--headsets 10] [--objects 200000]
"""

import argparse
import asyncio
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import bucket_statistics
import httpx
from botocore.config import Config
from bucket_statistics import begin_peak_anew, memory_mib, ratio
from yarl import URL

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import TOKENS, Client, Server, headset

from quest_backend.api.uploads import answer_with_urls
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.recordings import FileType, PartPlan
from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.presign import Credentials, Presigner
from quest_backend.storage.records import UploadRecord
from quest_backend.storage.s3 import ObjectStore
from quest_backend.storage.upload_types import Started

MIB = 1024 * 1024
PARTS = 10_000
CHUNK = 10 * MIB
KEY = "sessions/20260206_143052/recording.mp4"
NODE_SCRIPT = Path(__file__).resolve().parent / "peer" / "presign.mjs"


def sign_ours() -> float:
    presigner = Presigner(Credentials("AKIDEXAMPLE", "secret" * 7), "eu-west-1")
    started = time.perf_counter()
    sign = presigner.part_url(
        "http://lab:3200", "bucket", KEY, "upload" * 10, datetime.now(UTC), 3600
    )
    urls = [sign(number) for number in range(1, PARTS + 1)]
    assert len(set(urls)) == PARTS
    return time.perf_counter() - started


def sign_boto3() -> float:
    client = boto3.client(
        "s3",
        endpoint_url="http://lab:3200",
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret" * 7,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    started = time.perf_counter()
    for number in range(1, PARTS + 1):
        client.generate_presigned_url(
            "upload_part",
            Params={"Bucket": "bucket", "Key": KEY, "PartNumber": number, "UploadId": "u" * 60},
        )
    return time.perf_counter() - started


def sign_node() -> float | None:
    """Seconds of the AWS SDK for Node; None where it is not installed (make bench installs it)."""
    if not (NODE_SCRIPT.parent / "node_modules").exists():
        return None
    node = Path(sys.executable).parent / "node"
    out = subprocess.check_output([str(node), str(NODE_SCRIPT), str(PARTS)], text=True)
    return float(out)


async def longest_turn() -> float:
    """Seconds that the event loop is held at most while the answer to a start is made."""
    presigner = Presigner(Credentials("AKIDEXAMPLE", "secret" * 7), "eu-west-1")
    sign = presigner.part_url("http://lab:3200", "bucket", KEY, "u" * 60, datetime.now(UTC), 3600)
    record = UploadRecord(
        upload_id="u" * 60,
        folder="20260206_143052",
        file_type=FileType.VIDEO,
        device_id="QUEST_0001",
        asked="20260206_143052",
        plan=PartPlan(PARTS * CHUNK, CHUNK),
        nonce="n",
        started_ms=0,
    )
    turns: list[float] = []
    pieces = answer_with_urls({"ok": True}, Started(record, sign))
    while True:
        started = time.perf_counter()
        if await anext(pieces, None) is None:
            return max(turns)
        turns.append(time.perf_counter() - started)


def presigning() -> None:
    ours = min(sign_ours() for _ in range(5))
    boto = sign_boto3()
    print(f"presign {PARTS} parts: ours {ours * 1000:.1f} ms, boto3 {boto * 1000:.0f} ms")
    ratio("presign_10000_parts_boto3", ours / boto)
    node = sign_node()
    if node is not None:
        print(f"presign {PARTS} parts: AWS SDK for Node {node * 1000:.0f} ms")
        ratio("presign_10000_parts", ours / node)


async def stalls(server: Server) -> None:
    """The longest wait of a small request while a 100 GiB upload starts."""
    token = TOKENS.issue("BENCH_HEADSET", DeviceType.HEADSET)
    waits: list[float] = []
    done = asyncio.Event()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:

        async def ask() -> None:
            while not done.is_set():
                started = time.perf_counter()
                async with http.get(f"{server.url}/openapi-not-there") as answer:
                    await answer.read()
                waits.append(time.perf_counter() - started)

        asking = asyncio.create_task(ask())
        while len(waits) < 100:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)
        quiet, waits[:] = max(waits), []
        # In a process of its own: what it takes to read 5 MB is not the server's.
        starter = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--only-start", server.url, stdout=asyncio.subprocess.PIPE
        )
        waits.clear()  # starting a process held our own loop, not the server's
        out, _ = await starter.communicate()
        size = int(out)
        done.set()
        await asking
    print(
        f"start of {PARTS} parts, {size / 1e6:.1f} MB of URLs: longest answer to another request "
        f"meanwhile {max(waits) * 1000:.1f} ms, before {quiet * 1000:.1f} ms"
    )


def only_start(url: str) -> None:
    """Start the largest upload; prints the size of the answer."""
    token = TOKENS.issue("BENCH_HEADSET", DeviceType.HEADSET)
    body = {"timestamp": "20260301_000000", "fileType": "video", "fileSize": PARTS * CHUNK}
    answer = httpx.post(
        f"{url}/chunked-upload/start",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert len(answer.json()["presignedUrls"]) == PARTS
    print(len(answer.content))


async def send_parts(
    store: ObjectStore, host: str, key: str, upload_id: str, parts: int, connections: int
) -> float:
    sign = (await store.presigner()).part_url(
        host, store.bucket, key, upload_id, datetime.now(UTC), 3600
    )
    left = iter(range(1, parts + 1))
    body = bytes(CHUNK)

    async def pieces() -> Any:
        view = memoryview(body)
        for start in range(0, CHUNK, MIB):
            yield view[start : start + MIB]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as http:

        async def work() -> None:
            for number in left:
                async with http.put(
                    URL(sign(number), encoded=True),
                    data=pieces(),
                    headers={"Content-Length": str(CHUNK)},
                ) as answer:
                    assert answer.status == 200, await answer.text()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        took = time.perf_counter() - started
    return parts * CHUNK / MIB / took


async def pass_through(server: Server, mib: int) -> None:
    credentials, endpoint = EmbeddedS3(server.data_dir).known()
    store = ObjectStore("turing-robotics-datahub", embedded.REGION, endpoint, credentials)
    await store.open()
    parts = max(8, mib * MIB // CHUNK)
    token = TOKENS.issue("BENCH_HEADSET", DeviceType.HEADSET)
    speeds: dict[str, list[float]] = {"direct": [], "through": []}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        for round_ in range(2):
            for name, host in (("direct", endpoint), ("through", server.url)):
                body = {
                    "timestamp": f"20260302_0000{round_}{len(name) % 10}",
                    "fileType": "video",
                    "fileSize": parts * CHUNK,
                }
                async with http.post(f"{server.url}/chunked-upload/start", json=body) as answer:
                    begun = await answer.json()
                speed = await send_parts(
                    store, host, begun["s3Key"], begun["uploadId"], parts, connections=8
                )
                speeds[name].append(speed)
                await store.abort(begun["s3Key"], begun["uploadId"])
    await store.close()
    direct, through = max(speeds["direct"]), max(speeds["through"])
    print(
        f"{parts * 10} MiB, 8 connections: direct {direct:.0f} MiB/s, through {through:.0f} MiB/s"
    )
    ratio("pass_through_1GiB", through / direct)


async def large_form(server: Server, gib: float) -> None:
    """The server's memory while one form with a large video goes through."""
    assert server.process is not None
    pid = server.process.pid
    begin_peak_anew(pid)
    before = memory_mib(pid, "VmRSS")
    size = int(gib * 1024) * MIB
    boundary = "benchmark"
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="{{}}"; filename="x"\r\n\r\n'
    field = f'--{boundary}\r\ncontent-disposition: form-data; name="timestamp"\r\n\r\n'
    block = os.urandom(MIB)

    async def body() -> AsyncIterator[bytes]:
        yield (field + "20260304_000000\r\n" + head.format("video")).encode()
        for _ in range(size // MIB):
            yield block
        yield ("\r\n" + head.format("data") + f"x\r\n--{boundary}--\r\n").encode()

    headers = {
        "Authorization": f"Bearer {TOKENS.issue('BENCH_FORMS_1', DeviceType.HEADSET)}",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    started = time.perf_counter()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http,
        http.post(f"{server.url}/upload-session", data=body(), headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
    took = time.perf_counter() - started
    peak = memory_mib(pid, "VmHWM")
    print(
        f"form with a {gib:g} GiB video: {size / MIB / took:.0f} MiB/s, server's memory "
        f"{before:.0f} MiB before, {peak:.0f} MiB at its peak"
    )


async def frames_during_uploads(server: Server, headsets: int, seconds: float) -> None:
    """Latency of a preview frame while ``headsets`` upload through our port as fast as they can."""
    frame = "x" * 40_000
    quiet = await frame_latencies(server, frame, seconds)
    uploads = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--only-upload", server.url, "--headsets", str(headsets),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert uploads.stdout is not None
    await uploads.stdout.readline()
    busy = await frame_latencies(server, frame, seconds)
    uploads.terminate()
    await uploads.communicate()
    for name, found in (("no uploads", quiet), (f"{headsets} headsets uploading", busy)):
        p99 = statistics.quantiles(found, n=100)[98]
        print(f"frame latency, {name}: p50 {statistics.median(found) * 1000:.1f} ms, "
              f"p99 {p99 * 1000:.1f} ms ({len(found)} frames)")  # fmt: skip


def starts_with(mark: str, data: str) -> bool:
    return data.startswith(mark)


async def frame_latencies(server: Server, frame: str, seconds: float) -> list[float]:
    found: list[float] = []
    async with (
        headset(server) as device,
        Client(server, DeviceType.TABLET) as operator,
    ):
        await operator.ask(
            catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, device.identity
        )
        deadline = time.perf_counter() + seconds
        number = 0
        while time.perf_counter() < deadline:
            number += 1
            mark = f"{number:08d}"
            started = time.perf_counter()
            await device.send(catalogue.HEADSET_FRAME, mark + frame)
            await operator.gets(
                catalogue.ON_HEADSET_FRAME_UPDATED,
                functools.partial(starts_with, mark),
            )
            found.append(time.perf_counter() - started)
            operator.forget()
            await asyncio.sleep(0.034)
    return found


async def only_upload(url: str, headsets: int) -> None:
    """As many headsets as wanted, each uploading 10 MiB parts without a pause, until stopped."""

    async def one(number: int) -> None:
        token = TOKENS.issue(f"UPLOADER_{number:04d}", DeviceType.HEADSET)
        async with aiohttp.ClientSession() as http:
            body = {
                "timestamp": f"20260303_{number // 60:02d}{number % 60:02d}00",
                "fileType": "video",
                "fileSize": 1000 * CHUNK,
            }
            async with http.post(
                f"{url}/chunked-upload/start",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            ) as answer:
                begun = await answer.json()
            content = bytes(CHUNK)

            async def pieces() -> Any:
                view = memoryview(content)
                for start in range(0, CHUNK, MIB):
                    yield view[start : start + MIB]

            for index in range(100_000):
                target = begun["presignedUrls"][index % 5]["url"]
                async with http.put(
                    URL(target, encoded=True),
                    data=pieces(),
                    headers={"Content-Length": str(CHUNK)},
                ) as answer:
                    await answer.read()
                if index == 0 and number == 0:
                    print("uploading", flush=True)

    await asyncio.gather(*(one(number) for number in range(headsets)))


async def main() -> None:
    """Run everything, or a part that another process is to do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--headsets", type=int, default=10)
    parser.add_argument("--form-gib", type=float, default=5)
    parser.add_argument("--objects", type=int, default=200_000, help="0: no statistics")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only-upload", default="", help=argparse.SUPPRESS)
    parser.add_argument("--only-start", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_start:
        await asyncio.to_thread(only_start, options.only_start)
        return
    if options.only_upload:
        await only_upload(options.only_upload, options.headsets)
        return
    presigning()
    print(f"longest turn of the event loop for 10,000 URLs: {await longest_turn() * 1000:.1f} ms")
    with tempfile.TemporaryDirectory(prefix="quest-bench-") as folder:
        server = Server(Path(folder)).start()
        try:
            await stalls(server)
            await pass_through(server, options.mib)
            await large_form(server, options.form_gib)
            await frames_during_uploads(server, options.headsets, options.seconds)
        finally:
            server.stop()
    if options.objects:
        await bucket_statistics.run(options.objects)


if __name__ == "__main__":
    asyncio.run(main())
