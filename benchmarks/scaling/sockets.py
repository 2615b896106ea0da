"""Unit costs of connections, telemetry and frames: one thing changes from run to run."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from load import Load
from servers import JWT_SECRET
from support import Client

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.tokens import Tokens
from scaling.cluster import Cluster, Shared
from scaling.probe import Probe, probe
from scaling.units import Cost

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """How large, long and often the runs are."""

    idle: int
    headsets: int
    streaming: int
    seconds: float
    warmup: float
    frame_kb: tuple[int, ...]
    runs: int


FULL = Scale(idle=2000, headsets=500, streaming=50, seconds=8, warmup=2, frame_kb=(10, 40), runs=3)
QUICK = Scale(
    idle=500, headsets=200, streaming=30, seconds=2.5, warmup=1, frame_kb=(40,), runs=1
)  # fmt: skip
_TELEMETRY_HZ = 2  # each one is written: Valkey gets a headset's newest twice a second
_DASHBOARDS = 25
_FPS = 30
# Enough that what one more costs stands out of what differs from run to run.
_VIEWERS = 6
_PING_ROUND_S = 5.0


@dataclass(frozen=True, slots=True)
class _Case:
    what: str
    nodes: int
    load: Load
    look: bool = False


def _cases(scale: Scale) -> dict[str, _Case]:
    usual: dict[str, Any] = {"warmup": scale.warmup, "seconds": scale.seconds}
    long = usual | {"seconds": max(_PING_ROUND_S, scale.seconds)}
    quiet = usual | {"headsets": scale.headsets}
    says = quiet | {"telemetry_hz": _TELEMETRY_HZ}
    apart = {"headset_servers": 1}
    shown = f"the same to {_DASHBOARDS} dashboards"
    cases = {
        "nothing": _Case("an idle server", 1, Load(idle=1, **long)),
        "idle": _Case(f"{scale.idle} idle connections", 1, Load(idle=scale.idle, **long)),
        "quiet": _Case(f"{scale.headsets} headsets that say nothing", 1, Load(**quiet)),
        "alone": _Case(f"{scale.headsets} headsets that say how they are", 1, Load(**says)),
        "shown": _Case(shown, 1, Load(dashboards=_DASHBOARDS, **says), look=True),
        "apart": _Case("the same, on one of two servers", 2, Load(**says, **apart)),
        "still": _Case("on one of two, saying nothing", 2, Load(**quiet, **apart)),
    }
    for kb in scale.frame_kb:
        sends = usual | {"headsets": scale.streaming, "fps": _FPS, "frame_bytes": kb * 1000}
        one, many = scale.streaming, _VIEWERS * scale.streaming
        cases |= {
            f"unwatched{kb}": _Case(f"{kb} kB frames, nobody watches", 1, Load(**sends)),
            f"one{kb}": _Case(f"{kb} kB frames, a viewer each", 1, Load(viewers=one, **sends)),
            f"many{kb}": _Case(f"{kb} kB, {_VIEWERS} each", 1, Load(viewers=many, **sends)),
            f"cross{kb}": _Case(
                f"{kb} kB frames to viewers elsewhere", 2,
                Load(viewers=one, viewer_shift=1, **sends, **apart),
            ),
        }  # fmt: skip
    return cases


class SocketCosts:
    """Runs the loads in turns, and subtracts medians."""

    def __init__(self, shared: Shared, tokens: Path, scale: Scale, show: Show) -> None:
        self._shared, self._tokens, self._scale, self._show = shared, tokens, scale, show
        self._shown_bytes = 0.0
        self._found: dict[str, list[Probe]] = {}

    async def measure(self) -> dict[str, Any]:
        """Fields of ``Units``."""
        cases = _cases(self._scale)
        for number in range(self._scale.runs):
            for name, case in cases.items():
                found = await self._run(case)
                self._found.setdefault(name, []).append(found)
                cores = " ".join(f"{key} {value:.0%}" for key, value in found.steady.cpu.items())
                self._show(f"run {number + 1}/{self._scale.runs}  {case.what:40} {cores}")
        costs = self._connections()
        costs |= self._telemetry(costs)
        costs |= self._frames(costs)
        return costs

    async def _run(self, case: _Case) -> Probe:
        async with self._shared.cluster(case.nodes) as cluster:

            async def looking() -> None:
                self._shown_bytes = await _telemetry_bytes(cluster)

            return await probe(cluster, case.load, self._tokens, looking if case.look else None)

    def _median(self, name: str, of: Callable[[Probe], float]) -> float:
        return statistics.median(of(one) for one in self._found[name])

    def _connections(self) -> dict[str, Any]:
        count = self._scale.idle
        base = self._median("nothing", lambda p: p.steady.cpu["node0"])
        return {
            "node_idle_us_per_s": base * 1e6,
            "node_mib": self._median("nothing", lambda p: p.steady.rss_mib["node0"]),
            "connection_us_per_s": self._median("idle", lambda p: p.per("node0", count, base)),
            "connection_kib": self._median("idle", _grown_kib) / count,
        }

    def _telemetry(self, known: dict[str, Any]) -> dict[str, float]:
        count, median = self._scale.headsets, self._median
        pinging = (known["node_idle_us_per_s"] + count * known["connection_us_per_s"]) / 1e6
        state = median("quiet", lambda p: p.steady.cpu["state"])
        listening = median("still", lambda p: p.steady.cpu["node1"])
        alone_us = median("alone", lambda p: p.per("node0", _telemetry_sent(p), pinging))
        shown_us = median("shown", lambda p: p.per("node0", _telemetry_sent(p), pinging))
        state_us = median("alone", lambda p: p.per("state", _telemetry_sent(p), state))
        both_us = median("apart", lambda p: p.per("state", _telemetry_sent(p), state))

        def joining_us(process: str) -> Callable[[Probe], float]:
            return lambda p: p.joining.cpu[process] * p.joining.seconds * 1e6 / count

        def written(counter: str) -> float:
            before = median("quiet", lambda p: p.steady.valkeys["state"][counter])
            return median(
                "alone",
                lambda p: (p.steady.valkeys["state"][counter] - before) / _telemetry_sent(p),
            )

        return {
            "headset_kib": median("quiet", _grown_kib) / count,
            "join_us": median("quiet", joining_us("node0")),
            "join_state_us": median("quiet", joining_us("state")),
            "join_elsewhere_us": median("still", joining_us("node1")),
            "telemetry_us": alone_us,
            "telemetry_state_us": state_us,
            "telemetry_state_commands": written("total_commands_processed"),
            "telemetry_state_bytes": written("total_net_input_bytes"),
            "telemetry_shown_us": max(0.0, shown_us - alone_us) / _DASHBOARDS,
            "telemetry_shown_bytes": self._shown_bytes,
            "telemetry_elsewhere_us": median(
                "apart", lambda p: p.per("node1", _telemetry_sent(p), listening)
            ),
            "telemetry_bus_us": max(0.0, both_us - state_us),
            "telemetry_bus_bytes": median(
                "apart", lambda p: p.steady.nodes[0]["bus_bytes"] / _telemetry_sent(p)
            ),
        }

    def _frames(self, known: dict[str, Any]) -> dict[str, Any]:
        points: dict[str, dict[float, float]] = {}
        for kilobytes in self._scale.frame_kb:
            for name, value in self._frames_of(kilobytes, known).items():
                points.setdefault(name, {})[kilobytes] = value
        costs: dict[str, Any] = {name: Cost.through(values) for name, values in points.items()}
        largest, count = max(self._scale.frame_kb), self._scale.streaming
        one, many = (self._median(f"{name}{largest}", _grown_kib) for name in ("one", "many"))
        out = self._median(f"cross{largest}", _bus_bytes_per_frame)
        return costs | {
            "viewer_kib": max(0.0, many - one) / ((_VIEWERS - 1) * count),
            "bus_frame_overhead_bytes": max(0.0, out - largest * 1000),
        }

    def _frames_of(self, kilobytes: int, known: dict[str, Any]) -> dict[str, float]:
        count, ping_us = self._scale.streaming, known["connection_us_per_s"]
        idle_us = known["node_idle_us_per_s"]

        def per_sent(name: str, clients: int) -> float:
            rest = (idle_us + clients * ping_us) / 1e6
            return self._median(f"{name}{kilobytes}", lambda p: p.per("node0", _sent(p), rest))

        frame_in = per_sent("unwatched", count)
        first = per_sent("one", 2 * count)
        all_of_them = per_sent("many", (1 + _VIEWERS) * count)
        frame_out = max(0.0, all_of_them - first) / (_VIEWERS - 1)
        check = max(0.0, first - frame_in - frame_out)
        rest = (idle_us + count * ping_us) / 1e6
        cross = f"cross{kilobytes}"
        received = self._median(cross, lambda p: p.per("node1", p.delivered(), rest))
        published = per_sent("cross", count)
        return {
            "frame_in": frame_in,
            "frame_check": check,
            "frame_out": frame_out,
            "frame_publish": max(0.0, published - frame_in - check),
            "frame_receive": max(0.0, received - frame_out),
            "bus_frame": self._median(cross, lambda p: p.per("state", p.delivered())),
        }


def _grown_kib(found: Probe) -> float:
    return max(0.0, found.joining.grown_mib["node0"]) * 1024


def _bus_bytes_per_frame(found: Probe) -> float:
    return found.steady.valkeys["state"]["total_net_output_bytes"] / found.delivered()


async def _telemetry_bytes(cluster: Cluster) -> float:
    """Of what a dashboard gets of one telemetry message."""
    name = "BENCH_LOOKER"
    token = Tokens(JWT_SECRET, "unused").issue(name, DeviceType.DASHBOARD)
    async with Client(cluster.nodes[0], DeviceType.DASHBOARD, name, token=token) as looker:
        await looker.send(catalogue.DASHBOARD_SUBSCRIBE)
        event = catalogue.ON_DEVICE_TELEMETRY_UPDATED
        state = await looker.gets(event, lambda device: device["telemetry"], timeout_s=20)
    return float(len(orjson.dumps([event.name, state])))


def _sent(found: Probe) -> float:
    """Frames a second that left the headsets."""
    return float(found.seen["frames_sent"]) / float(found.seen["window_s"])


def _telemetry_sent(found: Probe) -> float:
    return float(found.seen["telemetry_sent"]) / float(found.seen["window_s"])
