"""Hostile and very large recordings are scored in a process that may not take 512 MB."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings import SESSION, array_pickle_zip, arrays, files, npy, npz, rawzip, zipped

from quest_backend.qa.recording import MAX_FRAMES

MOST_BYTES = 512 * 1024 * 1024
_SCORE = f"""
import resource, sys, json
resource.setrlimit(resource.RLIMIT_DATA, ({MOST_BYTES}, {MOST_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from pathlib import Path
from quest_backend.jobs.local_recordings import find_sessions, score_local
scored = score_local(find_sessions(Path(sys.argv[1]))[0], 2000)
# Not ru_maxrss, which goes on from the process that started this one.
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({{"session": scored.session, "peak": peak}}))
"""


def zeros(count_mib: int, before: bytes = b"") -> bytes:
    """A deflate stream of ``before`` and so many MiB of zeros, made of one block repeated."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = deflate.compress(before) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return start + block * count_mib + deflate.flush()


FOUR_GIB = 4 << 30
HEADER = npy(np.zeros(100, np.bool_))
LONG_HEADER = npy(np.zeros(MAX_FRAMES, np.bool_))[:128]


def noisy() -> bytes:
    """As long as is read, of numbers that do not pack, with as many intervals as there can be."""
    noise = np.random.default_rng(1).random(MAX_FRAMES)
    flicker = np.arange(MAX_FRAMES) % 2 == 0
    return npz(
        arrays(
            MAX_FRAMES,
            left_confidence=noise,
            right_confidence=noise.astype(">f8"),
            left_tracked=flicker,
            right_tracked=flicker,
            tracking_errors=flicker,
            hand_speed_exceeded=~flicker,
            both_hands_not_in_frame=flicker,
        ),
        packed=False,
    )


_SCORE_AT_ONCE = """
import asyncio, sys
from pathlib import Path
from quest_backend.jobs.local_recordings import opened
from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.range_reads import RemoteFile, score_remote

async def one(path, budget):
    with opened(path) as (size, fetch):
        async def fetched(span):
            return fetch(span)
        file = RemoteFile(size, fetched)
        scored = await score_remote("any", file, None, budget, request_timeout_s=100)
        return scored.session["stages"]["stage10_validationTests"]["npzIntegrityCheck"]

async def all_at_once():
    budget = MemoryBudget(*map(int, sys.argv[2:]))
    paths = sorted(Path(sys.argv[1]).glob("*.npz"))
    return await asyncio.gather(*(one(path, budget) for path in paths))

assert all(asyncio.run(all_at_once()))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def test_memory_stays_bounded_however_many_are_read_at_once(tmp_path: Path) -> None:
    frames = 1_000_000
    flicker = np.arange(frames) % 2 == 0
    noise = np.random.default_rng(1).random(frames).astype("<f2")
    dense = npz(
        arrays(
            frames,
            left_confidence=noise,
            right_confidence=noise,
            left_tracked=flicker,
            right_tracked=~flicker,
            tracking_errors=flicker,
            hand_speed_exceeded=~flicker,
            both_hands_not_in_frame=flicker,
        ),
        packed=False,
    )
    (tmp_path / "0.npz").write_bytes(noisy())
    for number in range(1, 21):
        (tmp_path / f"{number:02}.npz").write_bytes(dense)
    done = subprocess.run(
        [sys.executable, "-c", _SCORE_AT_ONCE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) * 1024 < MOST_BYTES


CASES: dict[str, tuple[Callable[[], bytes], bool]] = {
    "4 GiB of zeros": (lambda: rawzip(b"left_tracked.npy", zeros(4096), FOUR_GIB - 2), False),
    "4 GiB of zeros after a good array": (
        lambda: rawzip(b"left_tracked.npy", zeros(4096, HEADER), len(HEADER)), False),
    "4 GiB of zeros within the bound": (
        lambda: rawzip(b"left_tracked.npy", zeros(4096, LONG_HEADER), 128 + MAX_FRAMES), False),
    "4 GiB of metadata": (lambda: rawzip(b"metadata.npy", zeros(4096), FOUR_GIB - 2), False),
    "empty deflate blocks": (
        lambda: rawzip(b"left_tracked.npy", b"\0\0\0\xff\xff" * 10_000_000, 5), False),
    "a billion laughs": (array_pickle_zip, False),
    "65,536 members": (
        lambda: zipped(files(arrays(1)) | {f"m{number}": b"" for number in range(65_536)}), False),
    "as long as is read": (noisy, True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_memory_stays_bounded(name: str, tmp_path: Path) -> None:
    make, readable = CASES[name]
    folder = tmp_path / SESSION
    folder.mkdir()
    (folder / "session_data.npz").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", _SCORE, str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    checks = answer["session"]["stages"]["stage10_validationTests"]
    assert checks["npzIntegrityCheck"] is readable
    assert answer["peak"] < MOST_BYTES
