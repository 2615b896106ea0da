"""QA of one hour with joint data: range reads against loading the whole file and printing JSON.

The recording has 216,000 frames (an hour at 60 per second), the schema's eight arrays, and 26
joints of 7 numbers per hand and frame. Each way runs in a process of its own, several times; times
are the best of them, as other work on the machine only adds; memory is the peak over the idle
process with its modules loaded (of JSON, without that of the subprocess). Three ways:

- ranges: what this project does;
- whole file: read it all, ``np.load`` it from memory, the same score;
- JSON: a subprocess loads the arrays with ``np.load`` and prints them as JSON, parsed here.

Usage: python benchmarks/qa.py [--frames 216000]. Exit code 1 when a bound is missed.
"""

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from recordings import SESSION, arrays, npz

from quest_backend.jobs.local_recordings import opened
from quest_backend.qa.metadata import parse_metadata
from quest_backend.qa.ranges import Span, read
from quest_backend.qa.recording import ARRAYS, Recording, read_recording
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session

REPEATS = 10
SMALL_SESSIONS = 300
MIB = 1024 * 1024
_PRINT_JSON = """
import json, sys
import numpy as np
data = np.load(sys.argv[1], allow_pickle=True)
arrays = {name: data[name].tolist() for name in sys.argv[2].split(",") if name != "metadata"}
arrays["metadata"] = json.loads(bytes(data["metadata"][0]))
print(json.dumps(arrays))
"""


def make(path: Path, frames: int, *, packed: bool) -> None:
    """An hour of hands that are sometimes lost, with joints that wander."""
    random = np.random.default_rng(7)

    def confidence() -> NDArray[np.float32]:
        lost = np.abs(np.sin(random.normal(0, 0.02, frames).cumsum()))
        values: NDArray[np.float64] = 0.9 - lost * random.random(frames) * 0.4
        return values.astype(np.float32)

    def rarely(share: float) -> NDArray[np.bool_]:
        flags: NDArray[np.bool_] = np.repeat(random.random(frames // 30 + 1) < share, 30)
        return flags[:frames]

    joints: dict[str, Any] = {
        f"{side}_joints": random.normal(0, 1, (frames, 26, 7)).astype(np.float32)
        for side in ("left", "right")
    }
    schema = arrays(
        frames,
        left_confidence=confidence(), right_confidence=confidence(),
        left_tracked=~rarely(0.02), right_tracked=~rarely(0.02),
        both_hands_not_in_frame=rarely(0.005), hand_speed_exceeded=rarely(0.02),
        tracking_errors=rarely(0.005),
    )  # fmt: skip
    (np.savez_compressed if packed else np.savez)(path, **schema, **joints)


def by_ranges(path: Path) -> dict[str, float]:
    requests = size_read = 0
    with opened(path) as (size, fetch):

        def counted(span: Span) -> bytes:
            nonlocal requests, size_read
            requests += 1
            size_read += span.length
            return fetch(span)

        score = score_session(SESSION, read(read_recording(size), counted), None)
    return {"bytes": size_read, "requests": requests, "score": score["overallQualityScore"]}


def by_whole_file(path: Path) -> dict[str, float]:
    whole = path.read_bytes()
    data = np.load(io.BytesIO(whole), allow_pickle=True)
    loaded = {name: data[name] for name in ARRAYS}
    return {"bytes": len(whole), "requests": 1, "score": scored(loaded)["overallQualityScore"]}


def by_json(path: Path) -> dict[str, float]:
    command = [sys.executable, "-c", _PRINT_JSON, str(path), ",".join(ARRAYS)]
    text = subprocess.run(command, capture_output=True, check=True).stdout
    parsed = json.loads(text)
    told = json.dumps(parsed.pop("metadata")).encode()
    loaded = {name: np.array(values) for name, values in parsed.items()}
    score = scored({**loaded, "metadata": np.array([told])})
    return {"bytes": path.stat().st_size, "requests": 1, "score": score["overallQualityScore"]}


def scored(loaded: dict[str, NDArray[Any]]) -> SessionQA:
    left, right = (loaded[f"{side}_confidence"].astype(np.float64) for side in ("left", "right"))
    recording = Recording(
        (left, right), (loaded["left_tracked"], loaded["right_tracked"]),
        loaded["both_hands_not_in_frame"], loaded["hand_speed_exceeded"],
        loaded["tracking_errors"], parse_metadata(bytes(loaded["metadata"][0])),
    )  # fmt: skip
    return score_session(SESSION, recording, None)


WAYS: dict[str, Callable[[Path], dict[str, float]]] = {
    "ranges": by_ranges,
    "whole-file": by_whole_file,
    "json": by_json,
}


def _kib(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def peak_over_idle() -> Callable[[], float]:
    """From now on, how many MiB more than now this process has taken at most."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    idle = _kib("VmRSS")
    return lambda: (_kib("VmHWM") - idle) / 1024


def measure(way: str, path: Path) -> None:
    """In the child: run one way and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm.npz"
        warm.write_bytes(npz(arrays(100)))
        WAYS[way](warm)
    over_idle = peak_over_idle()
    result = WAYS[way](path)
    peak_mib = over_idle()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        WAYS[way](path)
        times.append(time.perf_counter() - started)
    print(json.dumps({**result, "ms": min(times) * 1000, "peak_mib": peak_mib}))


def compare(path: Path, kind: str) -> bool:
    taken: dict[str, dict[str, float]] = {}
    print(f"\n{kind} file of {path.stat().st_size / MIB:.1f} MiB")
    print(f"{'':12}{'read':>12}{'requests':>10}{'time':>12}{'memory':>12}")
    for way in WAYS:
        child = [sys.executable, __file__, "--measure", way, "--path", str(path)]
        taken[way] = json.loads(subprocess.run(child, stdout=subprocess.PIPE, check=True).stdout)
        one = taken[way]
        print(f"{way:12}{one['bytes'] / MIB:8.2f} MiB{one['requests']:10.0f}"
              f"{one['ms']:9.1f} ms{one['peak_mib']:8.1f} MiB")  # fmt: skip
    ours, whole, printed = taken["ranges"], taken["whole-file"], taken["json"]
    assert ours["score"] == whole["score"] == printed["score"], "the ways disagree"
    share_read, share_time = ours["bytes"] / whole["bytes"], ours["ms"] / whole["ms"]
    print(f"ratio qa_{kind}_bytes_of_whole_file {share_read:.5f}")
    print(f"ratio qa_{kind}_requests {ours['requests']:.0f}")
    print(f"ratio qa_{kind}_time_of_whole_file {share_time:.4f}")
    print(f"ratio qa_{kind}_time_of_json {ours['ms'] / printed['ms']:.4f}")
    print(f"ratio qa_{kind}_memory_mib {ours['peak_mib']:.2f}")
    return (
        share_read <= 0.01
        and ours["requests"] <= 4
        and share_time <= 0.1
        and ours["peak_mib"] <= 16
    )


def small_sessions(folder: Path) -> None:
    """Sessions per second of one process, of a minute each."""
    path = folder / "small.npz"
    path.write_bytes(npz(arrays(3600)))
    started = time.perf_counter()
    for _ in range(SMALL_SESSIONS):
        by_ranges(path)
    rate = SMALL_SESSIONS / (time.perf_counter() - started)
    print(f"\nratio qa_small_sessions_per_second_and_core {rate:.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description="QA by range reads against loading it all.")
    parser.add_argument("--frames", type=int, default=216_000)
    parser.add_argument("--measure", choices=WAYS)
    parser.add_argument("--path", type=Path)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.path)
        return 0
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("stored", "deflated"):
            path = Path(folder) / f"{kind}.npz"
            make(path, given.frames, packed=kind == "deflated")
            good = compare(path, kind) and good
            path.unlink()
        small_sessions(Path(folder))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
