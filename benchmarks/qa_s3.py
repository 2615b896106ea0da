"""QA of one hour in a bucket, with its video: range reads of S3 against downloading both files.

The bucket is the embedded S3. The data are those of ``benchmarks/qa.py`` (216,000 frames with
joints), the video is an H.264 MP4 of as many frames at uneven times, its index behind the pictures
as headsets write it. Each way runs in a process of its own, several times; times are the best of
them, memory is the peak over the idle process:

- ranges: what a worker does, without the listing that found the files;
- whole files: both objects in one request each, ``np.load``, and PyAV for the video.

Usage: python benchmarks/qa_s3.py [--frames 216000]. Exit code 1 when a bound is missed.
"""

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bucket import BUCKET, opened_store, own_store
from qa import MIB, make, peak_over_idle, scored
from recordings import SESSION
from videos import long_movie

from quest_backend.jobs.bucket import StoredRecording, recording
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.scoring import measure
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.recording import ARRAYS, MAX_MEMBER_BYTES
from quest_backend.storage.s3 import ObjectStore, Part

REPEATS = 5
PART_BYTES = 10 * MIB
Taken = dict[str, float]


class Counted(ObjectStore):
    """The real store; counts its range reads."""

    def __init__(self, store: ObjectStore) -> None:
        self.__dict__.update(store.__dict__)
        self.requests = 0
        self.read_bytes = 0

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        self.requests += 1
        self.read_bytes += end - start
        return await super().read_range(key, start, end, etag)


async def by_ranges(store: Counted, found: StoredRecording) -> float:
    """The overall score, as a worker finds it."""
    session = (await measure(store, found, MemoryBudget(), MAX_MEMBER_BYTES)).session
    video = session["extended"]["video"]
    assert video is not None
    assert video["framesAgree"], session["extended"]["problems"]
    return session["overallQualityScore"]


async def by_whole_files(store: Counted, found: StoredRecording) -> float:
    """The same after downloading everything."""
    assert found.data is not None
    assert found.video is not None
    bodies = [
        await store.read_range(key_of(SESSION, file_type), 0, file.size, file.etag)
        for file_type, file in ((FileType.DATA, found.data), (FileType.VIDEO, found.video))
    ]
    loaded = np.load(io.BytesIO(bodies[0]), allow_pickle=True)
    with av.open(io.BytesIO(bodies[1])) as film:
        assert film.streams.video[0].frames == len(loaded["left_tracked"])
    return scored({name: loaded[name] for name in ARRAYS})["overallQualityScore"]


WAYS: dict[str, Callable[[Counted, StoredRecording], Awaitable[float]]] = {
    "ranges": by_ranges,
    "whole-files": by_whole_files,
}


async def measured(way: str, folder: Path) -> Taken:
    """In the child: what one way takes."""
    async with opened_store(folder) as opened:
        store = Counted(opened)
        found = await recording(store, SESSION)
        # Connections are open and modules loaded before the clock starts.
        assert found.data is not None
        await store.read_range(key_of(SESSION, FileType.DATA), 0, 1, found.data.etag)
        store.requests = store.read_bytes = 0
        over_idle = peak_over_idle()
        score = await WAYS[way](store, found)
        taken: Taken = {"score": score, "requests": store.requests, "bytes": store.read_bytes,
                        "peak_mib": over_idle()}  # fmt: skip
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            await WAYS[way](store, found)
            times.append(time.perf_counter() - started)
    return {**taken, "ms": min(times) * 1000}


async def put_file(store: ObjectStore, file_type: FileType, path: Path) -> None:
    key = key_of(SESSION, file_type)
    upload_id = await store.begin(key, "application/octet-stream", {})
    parts: list[Part] = []
    with path.open("rb") as file:
        while body := file.read(PART_BYTES):
            parts.append(await store.put_part(key, upload_id, len(parts) + 1, body))
    await store.complete(key, upload_id, parts)


async def run(frames: int, folder: Path) -> bool:
    paths = {FileType.DATA: folder / "data.npz", FileType.VIDEO: folder / "video.mp4"}
    make(paths[FileType.DATA], frames, packed=False)
    long_movie(paths[FileType.VIDEO], frames, {})
    whole = sum(path.stat().st_size for path in paths.values())
    async with own_store(folder) as store:
        for file_type, path in paths.items():
            print(f"{file_type.value} of {path.stat().st_size / MIB:.1f} MiB in {BUCKET}")
            await put_file(store, file_type, path)
        taken = {way: await child(way, folder) for way in WAYS}
    print(f"{'':12}{'read':>12}{'requests':>10}{'time':>12}{'memory':>12}")
    for way, one in taken.items():
        print(f"{way:12}{one['bytes'] / MIB:8.2f} MiB{one['requests']:10.0f}"
              f"{one['ms']:9.1f} ms{one['peak_mib']:8.1f} MiB")  # fmt: skip
    ours, theirs = taken["ranges"], taken["whole-files"]
    assert ours["score"] == theirs["score"], "the ways disagree"
    print(f"ratio qa_s3_requests {ours['requests']:.0f}")
    print(f"ratio qa_s3_bytes_of_both_files {ours['bytes'] / whole:.5f}")
    print(f"ratio qa_s3_time_of_both_files {ours['ms'] / theirs['ms']:.4f}")
    print(f"ratio qa_s3_memory_mib {ours['peak_mib']:.2f}")
    return ours["requests"] <= 4 and ours["ms"] <= 0.1 * theirs["ms"] and ours["peak_mib"] <= 16


async def child(way: str, folder: Path) -> Taken:
    command = [sys.executable, __file__, "--measure", way, "--folder", str(folder)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True)
    taken: Taken = json.loads(done.stdout)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description="QA of an hour in a bucket, with its video.")
    parser.add_argument("--frames", type=int, default=216_000)
    parser.add_argument("--measure", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(asyncio.run(measured(given.measure, given.folder))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(run(given.frames, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
