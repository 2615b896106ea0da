"""Three servers, viewers on other servers than their headsets: what it took, what was foreseen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from load import Load

from scaling.cluster import Shared
from scaling.model import Traffic, bus, node_cores
from scaling.probe import Probe, probe
from scaling.units import Units

NODES, FPS = 3, 30


@dataclass(frozen=True, slots=True)
class Run:
    """One load on three servers. Rates are per second; ``nodes`` and ``valkeys`` are cores."""

    name: str
    headsets: int
    frame_kb: float
    shards: int
    shift: int
    sent: float
    delivered: float
    skipped: float
    dropped: float
    lost: float
    age_p50_ms: float
    age_p99_ms: float
    nodes: float
    valkeys: float
    load: float
    machine_share: float
    bus_in: float
    bus_out: float
    rss_mib: float

    @property
    def us_per_frame(self) -> float:
        """CPU of servers and Valkeys for each frame that arrived."""
        return (self.nodes + self.valkeys) * 1e6 / self.delivered

    @property
    def seen_fps(self) -> float:
        """Frames a second that each viewer saw."""
        return self.delivered / self.headsets

    @property
    def limit(self) -> str:
        """What was full: ``machine`` is all cores that servers, Valkeys and load share."""
        if self.seen_fps > 0.97 * FPS and self.age_p99_ms < 250:
            return "none"
        fullest = max(self.nodes / NODES, self.valkeys / max(1, self.shards))
        if fullest > 0.9:
            return "server" if self.nodes / NODES == fullest else "Valkey"
        if self.machine_share > 0.9:
            return "machine"
        return "latency"


async def run(
    shared: Shared, tokens: Path, headsets: int, *, frame_kb: float, seconds: float,
    shards: int = 0, shift: int = 1,
) -> Run:  # fmt: skip
    """A viewer for each headset, ``shift`` servers further (0: on the same one)."""
    load = Load(
        headsets=headsets, viewers=headsets, fps=FPS, frame_bytes=int(frame_kb * 1000),
        viewer_shift=shift, warmup=2, seconds=seconds,
    )  # fmt: skip
    async with shared.cluster(NODES, shards=shards) as cluster:
        psutil.cpu_percent(None)
        found = await probe(cluster, load, tokens)
        busy = psutil.cpu_percent(None) / 100
    return _run_of(found, frame_kb, shards, busy)


def _run_of(found: Probe, frame_kb: float, shards: int, busy: float) -> Run:
    seen, used, load = found.seen, found.steady, found.load
    where = "elsewhere" if load.viewer_shift else "local"
    name = f"{load.headsets}_x_{frame_kb:g}kb_{where}" + (f"_{shards}_shards" if shards else "")
    nodes = [used.cpu[f"node{number}"] for number in range(NODES)]
    valkeys = [value for key, value in used.cpu.items() if key.startswith(("state", "bus"))]
    window = float(seen["window_s"])
    return Run(
        name=name,
        headsets=load.headsets,
        frame_kb=frame_kb,
        shards=shards,
        shift=load.viewer_shift,
        sent=seen["frames_sent"] / window,
        delivered=max(1e-9, found.delivered()),
        skipped=seen["frames_skipped"] / window,
        dropped=sum(node["dropped"] for node in used.nodes),
        lost=sum(node["bus_lost"] for node in used.nodes),
        age_p50_ms=seen["frames"].get("p50_ms", 0.0),
        age_p99_ms=seen["frames"].get("p99_ms", 0.0),
        nodes=sum(nodes),
        valkeys=sum(valkeys),
        load=seen["load_cpu_s"] / window,
        machine_share=busy,
        bus_in=used.bus("total_net_input_bytes"),
        bus_out=used.bus("total_net_output_bytes"),
        rss_mib=max(used.rss_mib[f"node{number}"] for number in range(NODES)),
    )


@dataclass(frozen=True, slots=True)
class Check:
    """What the model says of a run's load, and what was measured."""

    name: str
    nodes: tuple[float, float]
    valkeys: tuple[float, float]
    bus_out: tuple[float, float]

    @staticmethod
    def error(pair: tuple[float, float]) -> float:
        """Of the prediction, as a share of what was measured."""
        predicted, measured = pair
        return predicted / measured - 1 if measured else 0.0


def check(units: Units, found: Run) -> Check:
    """Predict a run from the frames that were sent and arrived, and nothing else of it."""
    elsewhere = min(1, found.shift)
    each = Traffic(
        connections=2 * found.headsets / NODES,
        headsets=found.headsets / NODES,
        frames_in=found.sent / NODES,
        frames_watched=found.sent / NODES,
        frames_out=found.delivered / NODES,
        frames_published=elsewhere * found.sent / NODES,
        frames_received=elsewhere * found.delivered / NODES,
        frame_kb=found.frame_kb,
    )
    between = bus(units, each, NODES)
    return Check(
        found.name,
        nodes=(NODES * sum(node_cores(units, each).values()), found.nodes),
        valkeys=(between.cores, found.valkeys),
        bus_out=(between.bytes_out, found.bus_out),
    )


COLUMNS: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("headsets", lambda r: str(r.headsets)),
    ("kB", lambda r: f"{r.frame_kb:g}"),
    ("viewers", lambda r: "elsewhere" if r.shift else "local"),
    ("bus", lambda r: f"{r.shards} shards" if r.shards else "shared"),
    ("fps seen", lambda r: f"{r.seen_fps:.1f}"),
    ("p50 ms", lambda r: f"{r.age_p50_ms:.1f}"),
    ("p99 ms", lambda r: f"{r.age_p99_ms:.0f}"),
    ("dropped/s", lambda r: f"{r.dropped + r.lost + r.skipped:.0f}"),
    ("server cores", lambda r: f"{r.nodes:.2f}"),
    ("Valkey cores", lambda r: f"{r.valkeys:.2f}"),
    ("load cores", lambda r: f"{r.load:.2f}"),
    ("µs/frame", lambda r: f"{r.us_per_frame:.0f}"),
    ("bus MB/s", lambda r: f"{r.bus_out / 1e6:.0f}"),
    ("RSS MiB", lambda r: f"{r.rss_mib:.0f}"),
    ("limit", lambda r: r.limit),
)


def ratios(runs: list[Run]) -> list[tuple[str, float]]:
    """For machines."""
    found = []
    for one in runs:
        for key, value in (
            ("cpu_us_per_frame", one.us_per_frame),
            ("seen_fps", one.seen_fps),
            ("age_p50_ms", one.age_p50_ms),
            ("age_p99_ms", one.age_p99_ms),
            ("dropped_per_s", one.dropped + one.lost + one.skipped),
            ("server_cores", one.nodes),
            ("valkey_cores", one.valkeys),
            ("bus_mb_per_s", one.bus_out / 1e6),
            ("rss_mib", one.rss_mib),
        ):
            found.append((f"three_nodes_{one.name}_{key}", value))
    for one in runs:
        for other in runs:
            if (
                one.shift
                and not other.shift
                and not one.shards
                and ((one.headsets, one.frame_kb) == (other.headsets, other.frame_kb))
            ):
                ratio = one.us_per_frame / other.us_per_frame
                found.append((f"three_nodes_{one.headsets}_x_{one.frame_kb:g}kb_cross_to_local",
                              ratio))  # fmt: skip
    return found
