"""What is measured: who is played in each run, and which figures come out of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from load import Load

Raw = dict[str, Any]
Figures = dict[str, float]
ALL = ("ours", "node", "plain", "floor")
FRAME_FPS = 55
# A headset's frames leave at most every 33 ms: at 55 fps, 30 of them.
SENT_FPS = 30
# Every frame of a 25 fps headset may leave at once (40 ms > 33 ms): its age is the server's doing.
UNPACED_FPS = 25
_ONE_PING_ROUND_S = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A figure: its key, heading, digits behind the point; ``headline`` ones become ratios."""

    key: str
    heading: str
    digits: int = 0
    headline: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the benchmark: a load, and how its result is read."""

    name: str
    title: str
    load: Load
    read: Callable[[Load, Raw], Figures]
    columns: tuple[Column, ...]
    servers: tuple[str, ...] = ALL
    most_runs: int = 99


def _shares(raw: Raw) -> Figures:
    return {
        "busy": 100 * raw["cpu_s"] / raw["window_s"],
        "load_busy": 100 * raw["load_cpu_s"] / raw["window_s"],
        "others": 100 * raw["others"],
    }


def _delivery(kind: str) -> Callable[[Load, Raw], Figures]:
    def read(_: Load, raw: Raw) -> Figures:
        got = raw[kind]
        return {
            "cpu_us": 1e6 * raw["cpu_s"] / got["delivered"],
            "p50_ms": got["p50_ms"],
            "p99_ms": got["p99_ms"],
            "per_s": got["delivered"] / raw["window_s"],
            "rss_mb": raw["rss_end_kb"] / 1024,
            **_shares(raw),
        }

    return read


def _idle(load: Load, raw: Raw) -> Figures:
    return {
        "kb": (raw["rss_end_kb"] - raw["rss_start_kb"]) / load.idle,
        "rss_mb": raw["rss_end_kb"] / 1024,
        **_shares(raw),
    }


def _storm(_: Load, raw: Raw) -> Figures:
    return {
        "connects_per_s": raw["connected"] / raw["connect_s"],
        "cpu_us": 1e6 * raw["connect_cpu_s"] / raw["connected"],
        "others": 100 * raw["others"],
    }


def _slow(load: Load, raw: Raw) -> Figures:
    return {
        "age_p50_ms": raw["slow"]["p50_ms"],
        "age_p99_ms": raw["slow"]["p99_ms"],
        "seen_fps": raw["slow"]["delivered"] / raw["window_s"] / load.slow,
        "others_p99_ms": raw["frames"]["p99_ms"],
        "grown_mb": (raw["rss_peak_kb"] - raw["rss_start_kb"]) / 1024,
        "others": 100 * raw["others"],
    }


_BUSY = Column("busy", "server busy %")
# What other programs took of the server's core: the less, the more the row is worth.
_OTHERS = Column("others", "others %", 1)
_DELIVERY = (
    Column("cpu_us", "CPU µs each", 1, headline=True),
    Column("p50_ms", "p50 ms", 1),
    Column("p99_ms", "p99 ms", 1),
    Column("per_s", "delivered/s"),
    Column("rss_mb", "RSS MiB"),
    _BUSY,
    Column("load_busy", "load busy %"),
    _OTHERS,
)
CAPACITY = (Column("headsets", "headsets", headline=True),)
LATENCY = (
    Column("p99_ms", "p99 ms, 25 fps", 2, headline=True),
    Column("p50_ms", "p50 ms, 25 fps", 2),
    Column("paced_p99_ms", "p99 ms, 55 fps, paced", 1),
    _BUSY,
    _OTHERS,
)


def _frames(name: str, title: str, **changes: Any) -> Case:
    load = replace(Load(headsets=24, viewers=48, fps=FRAME_FPS), **changes)
    return Case(name, title, load, _delivery("frames"), _DELIVERY)


def cases() -> dict[str, list[Case]]:
    """All cases that are simple runs, by the name that ``--only`` takes."""
    return {
        "frames": [
            _frames("frames_40k", "24 headsets x 55 fps x 40 kB to 48 viewers"),
            _frames("frames_13k", "the same with 13 kB", frame_bytes=13_000),
            _frames("frames_130k", "the same with 130 kB", frame_bytes=130_000),
            _frames("frames_40k_one_viewer", "40 kB to one viewer per headset", viewers=24),
            _frames("frames_40k_five_viewers", "40 kB to five viewers per headset", viewers=120),
        ],
        "telemetry": [
            Case(
                "telemetry",
                "telemetry of 400 headsets x 10 Hz to 25 dashboards",
                Load(headsets=400, dashboards=25, telemetry_hz=10),
                _delivery("telemetry"),
                _DELIVERY,
            )
        ],
        "idle": [
            Case(
                "idle",
                "5,000 idle connections",
                Load(idle=5000, warmup=_ONE_PING_ROUND_S, seconds=_ONE_PING_ROUND_S),
                _idle,
                (
                    Column("kb", "kB per connection", 1, headline=True),
                    Column("rss_mb", "RSS MiB"),
                    Column("busy", "server busy %", 1),
                    _OTHERS,
                ),
                servers=("ours", "node", "plain"),
                most_runs=3,
            )
        ],
        "storm": [
            Case(
                "storm",
                "2,000 clients connect, 256 at a time",
                Load(idle=2000, inflight=256, warmup=0.1, seconds=0.1),
                _storm,
                (
                    Column("connects_per_s", "connects/s", headline=True),
                    Column("cpu_us", "CPU µs each"),
                    _OTHERS,
                ),
                servers=("ours", "node", "plain"),
            )
        ],
        "slow": [
            Case(
                "slow_viewer",
                "viewers that read 300 kB/s of 1.2 MB/s",
                Load(headsets=4, viewers=4, slow=4, fps=FRAME_FPS, warmup=15, seconds=10),
                _slow,
                (
                    Column("age_p50_ms", "age p50 ms"),
                    Column("age_p99_ms", "age p99 ms", headline=True),
                    Column("seen_fps", "frames/s seen", 1),
                    Column("others_p99_ms", "others' p99 ms", 1),
                    Column("grown_mb", "memory grown MiB", 1),
                    _OTHERS,
                ),
                servers=("ours", "node", "plain"),
                most_runs=3,
            )
        ],
    }


def shortened(case: Case) -> Case:
    """The same for a quick look: shorter, fewer idle connections."""
    load = case.load
    # Kernel buffers take this long to fill: before that, no viewer is behind.
    warmup = load.warmup if load.slow else min(load.warmup, 1)
    seconds = min(load.seconds, 3)
    idle, title = load.idle, case.title
    if idle == 5000:
        idle, title = 1000, title.replace("5,000", "1,000")
    shorter = replace(load, warmup=warmup, seconds=seconds, idle=idle)
    return replace(case, title=title, load=shorter)


# --- how many headsets one core carries ---------------------------------------------------------

CAPACITY_P99_MS = 100
# Below this share of what the pace allows, frames were dropped to keep the rest young.
_CAPACITY_DELIVERED = 25 / SENT_FPS
MOST_HEADSETS = 1500


def fleet(headsets: int, seconds: float, fps: float = FRAME_FPS) -> Load:
    """``headsets`` of 40 kB frames, one viewer each."""
    return Load(headsets=headsets, viewers=headsets, fps=fps, warmup=2, seconds=seconds)


def carries(load: Load, raw: Raw) -> bool:
    """Whether the server kept up: frames young, nearly all delivered."""
    got = raw["frames"]
    expected = load.headsets * SENT_FPS * raw["window_s"]
    return bool(
        got["delivered"] >= _CAPACITY_DELIVERED * expected and got["p99_ms"] < CAPACITY_P99_MS
    )


def search(fits: Callable[[int], bool], start: int = 50, share: float = 0.03) -> int:
    """The largest number that fits: doubled until one does not, then bisected to ``share``."""
    good, bad = 0, MOST_HEADSETS
    number = start
    while bad - good > max(1, share * good):
        if fits(number):
            good = number
        else:
            bad = number
        number = min(2 * good, MOST_HEADSETS - 1) if bad == MOST_HEADSETS else (good + bad) // 2
        if number <= good:
            break
    return good


def half_load(headsets: int) -> int:
    """Unpaced headsets that move half of the bytes that ``headsets`` paced ones do.

    A paced one brings 55 frames a second and takes 30 out; an unpaced one 25 and 25.
    """
    return max(1, round(headsets / 2 * (FRAME_FPS + SENT_FPS) / (2 * UNPACED_FPS)))
