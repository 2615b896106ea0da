"""Unit costs of uploads and of scoring them: real recordings through a real S3 that is counted."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from servers import JWT_SECRET

from quest_backend.client import UploadClient
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.recordings import FileType
from quest_backend.simulator.recordings import Take, write_data, write_video
from quest_backend.storage.presign import Credentials, Presigner
from quest_backend.tokens import Tokens
from scaling.cluster import Cluster, Reading, Shared, Used
from scaling.counting_s3 import CountingS3

_MIB = 2**20
_CHUNK = 10 * _MIB
_FIRST = datetime(2026, 2, 6, tzinfo=UTC)
_SMALL_PARTS, _LARGE_PARTS = 2, 8
_QA_TIMEOUT_S = 180
_SIGNED = 10_000


async def measure(
    shared: Shared, *, recordings: int, take_s: float, show: Callable[[str], None]
) -> dict[str, Any]:
    """Fields of ``Units``: ``recordings`` of each of two sizes, ``take_s`` long each."""
    with tempfile.TemporaryDirectory(prefix="takes-", dir=shared.folder) as temporary:
        folder = Path(temporary)
        take = Take("QUEST_BENCH", _FIRST, take_s, seed=1)
        await asyncio.to_thread(write_video, take, folder / "take.mp4")
        async with (
            CountingS3(shared.s3.endpoint) as s3,
            shared.cluster(
                1, s3_url=s3.url, QA_CONCURRENCY="0", S3_PUBLIC_ENDPOINT_URL=s3.url,
                LOG_LEVEL="info",
            ) as cluster,
        ):  # fmt: skip
            with _worker(cluster, folder):
                await _until(folder, '"worker_started"', 1)
                fresh = await asyncio.to_thread(cluster.reading)
                small = await _upload(cluster, s3, folder, recordings, _SMALL_PARTS, show)
                large = await _upload(cluster, s3, folder, recordings, _LARGE_PARTS, show)
                known = await _scored(cluster, s3, folder, fresh, 2 * recordings)
    # A recording is two files, of which only the video has more parts.
    per_part = (large["writes"] - small["writes"]) / (_LARGE_PARTS - _SMALL_PARTS)
    return known | {
        "upload_us": small["cpu_us"] / 2,
        "presign_us_per_part": _presign_us(),
        "upload_requests_per_part": per_part,
        "upload_requests": (small["writes"] - (_SMALL_PARTS + 1) * per_part) / 2,
        "upload_state_commands": small["commands"] / 2,
    }


async def _upload(
    cluster: Cluster, s3: CountingS3, folder: Path, count: int, parts: int,
    show: Callable[[str], None],
) -> dict[str, float]:  # fmt: skip
    """Of each recording: what its two files cost server and store, QA apart."""
    video, data = folder / f"video{parts}.mp4", folder / "session.npz"
    await asyncio.to_thread(_pad, folder / "take.mp4", video, (parts - 1) * _CHUNK + _MIB)
    before, idle = await _idle(cluster)
    writes = s3.requests["write"]
    for number in range(count):
        began = _FIRST + timedelta(hours=parts, minutes=number)
        take = Take(f"QUEST_{parts}_{number:04d}", began, 1, seed=number)
        token = Tokens(JWT_SECRET, "unused").issue(take.device_id, DeviceType.HEADSET)
        if not data.exists():
            await asyncio.to_thread(write_data, take, data)
        async with UploadClient(cluster.nodes[0].url, token=token) as client:
            for path, file_type in ((video, FileType.VIDEO), (data, FileType.DATA)):
                await client.upload(path, timestamp=take.timestamp, file_type=file_type)
    used = Used.between(before, await asyncio.to_thread(cluster.reading))
    commands = used.valkeys["state"]["total_commands_processed"]
    idle_commands = idle.valkeys["state"]["total_commands_processed"]
    found = {
        "writes": (s3.requests["write"] - writes) / count,
        "cpu_us": max(0.0, used.cpu["node0"] - idle.cpu["node0"]) * used.seconds * 1e6 / count,
        "commands": max(0.0, commands - idle_commands) * used.seconds / count,
    }
    show(f"{count} recordings of {parts} + 1 parts                  "
         f"{found['writes']:.1f} writes to S3 each")  # fmt: skip
    return found


async def _idle(cluster: Cluster) -> tuple[Reading, Used]:
    first = await asyncio.to_thread(cluster.reading)
    await asyncio.sleep(2)
    second = await asyncio.to_thread(cluster.reading)
    return second, Used.between(first, second)


def _pad(source: Path, target: Path, size: int) -> None:
    """The video with a ``free`` box behind it (ISO 14496-12, 8.1.2): as valid, and as large."""
    content = source.read_bytes()
    padding = max(8, size - len(content))
    target.write_bytes(content + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))


class _worker:  # noqa: N801 - used as a function
    """A worker with the server's settings, its CPU read with the cluster's."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        with (folder / "worker.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quest_backend", "worker", "--concurrency", "2"],
                env={"PATH": os.environ["PATH"], **cluster.env}, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        cluster.watch("worker", self._process.pid)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


async def _scored(
    cluster: Cluster, s3: CountingS3, folder: Path, fresh: Reading, recordings: int
) -> dict[str, float]:
    """What scoring one costs, in CPU of a worker and reads."""
    await _until(folder, '"recording_scored"', recordings)
    used = (await asyncio.to_thread(cluster.reading)).cpu_s["worker"] - fresh.cpu_s["worker"]
    return {"qa_cpu_s": used / recordings, "qa_get_requests": s3.requests["read"] / recordings}


async def _until(folder: Path, event: str, count: int) -> None:
    deadline = time.monotonic() + _QA_TIMEOUT_S
    while (found := (folder / "worker.log").read_text().count(event)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker logged {event} {found} times of {count}:\n"
                               f"{(folder / 'worker.log').read_text()[-2000:]}")  # fmt: skip
        await asyncio.sleep(0.1)


def _presign_us() -> float:
    sign = Presigner(Credentials("AKIDEXAMPLE", "secret" * 7), "us-east-1").part_url(
        "https://s3.us-east-1.amazonaws.com", "bucket", "sessions/20260206_143052/recording.mp4",
        "u" * 60, datetime.now(UTC), 3600,
    )  # fmt: skip
    started = time.process_time()
    for number in range(1, _SIGNED + 1):
        sign(number)
    return (time.process_time() - started) * 1e6 / _SIGNED
