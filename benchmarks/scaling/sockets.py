"""Unit costs of connections, telemetry and frames: one thing changes from run to run."""

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
    """How large and long the runs are."""

    idle: int
    headsets: int
    streaming: int
    seconds: float
    warmup: float
    frame_kb: tuple[int, ...]


FULL = Scale(idle=2000, headsets=500, streaming=60, seconds=10, warmup=2, frame_kb=(10, 40))
QUICK = Scale(idle=500, headsets=200, streaming=40, seconds=2.5, warmup=1, frame_kb=(40,))
_TELEMETRY_HZ = 2  # each one is written: Valkey gets a headset's newest twice a second
_DASHBOARDS = 10
_FPS = 30


class SocketCosts:
    """Runs the loads, and subtracts."""

    def __init__(self, shared: Shared, tokens: Path, scale: Scale, show: Show) -> None:
        self._shared, self._tokens, self._scale, self._show = shared, tokens, scale, show
        self._shown_bytes = 0.0

    async def _run(self, what: str, nodes: int = 1, *, look: bool = False, **load: Any) -> Probe:
        scale = self._scale
        wanted = Load(**{"warmup": scale.warmup, "seconds": scale.seconds, **load})
        async with self._shared.cluster(nodes) as cluster:

            async def looking() -> None:
                self._shown_bytes = await _telemetry_bytes(cluster)

            found = await probe(cluster, wanted, self._tokens, looking if look else None)
        cores = " ".join(f"{name} {value:.0%}" for name, value in found.steady.cpu.items())
        self._show(f"{what:46} {cores}")
        return found

    async def measure(self) -> dict[str, Any]:
        """Fields of ``Units``."""
        found: dict[str, Any] = {}
        # A round of pings takes five seconds.
        pings = max(5.0, self._scale.seconds)
        nothing = await self._run("an idle server", idle=1, seconds=pings)
        base = nothing.steady.cpu["node0"]
        found["node_idle_us_per_s"] = base * 1e6
        found["node_mib"] = nothing.steady.rss_mib["node0"]
        found |= await self._connections(base, pings)
        found |= await self._telemetry(base, found["connection_us_per_s"])
        found |= await self._frames(found)
        return found

    async def _connections(self, base: float, pings: float) -> dict[str, float]:
        count = self._scale.idle
        idle = await self._run(f"{count} idle connections", idle=count, seconds=pings)
        return {
            "connection_us_per_s": idle.per("node0", count, base),
            "connection_kib": idle.joining.grown_mib["node0"] * 1024 / count,
        }

    async def _telemetry(self, base: float, ping_us: float) -> dict[str, float]:
        count = self._scale.headsets
        quiet = await self._run(f"{count} headsets that say nothing", headsets=count)
        joined = quiet.joining
        per_s = count * _TELEMETRY_HZ
        says: dict[str, Any] = {"headsets": count, "telemetry_hz": _TELEMETRY_HZ}
        alone = await self._run(f"{count} headsets, {_TELEMETRY_HZ} telemetry/s each", **says)
        shown = await self._run(f"the same to {_DASHBOARDS} dashboards",
                                look=True, dashboards=_DASHBOARDS, **says)  # fmt: skip
        apart = await self._run("the same on one of two servers", 2, headset_servers=1, **says)
        still = await self._run("two servers, headsets that say nothing", 2,
                                headsets=count, headset_servers=1)  # fmt: skip
        pinging = base + count * ping_us / 1e6
        elsewhere = apart.steady.cpu["node1"] - still.steady.cpu["node1"]
        state = alone.steady.valkeys["state"]
        idle_state = quiet.steady.valkeys["state"]
        between = apart.steady.cpu["state"] - alone.steady.cpu["state"]
        deliveries = shown.delivered("telemetry")
        return {
            "headset_kib": max(0.0, joined.grown_mib["node0"]) * 1024 / count,
            "join_us": joined.cpu["node0"] * joined.seconds * 1e6 / count,
            "join_state_us": joined.cpu["state"] * joined.seconds * 1e6 / count,
            "join_elsewhere_us": still.joining.cpu["node1"] * still.joining.seconds * 1e6 / count,
            "telemetry_us": alone.per("node0", per_s, pinging),
            "telemetry_state_us": alone.per("state", per_s, quiet.steady.cpu["state"]),
            "telemetry_state_commands": (
                state["total_commands_processed"] - idle_state["total_commands_processed"]
            ) / per_s,
            "telemetry_state_bytes": (
                state["total_net_input_bytes"] - idle_state["total_net_input_bytes"]
            ) / per_s,
            "telemetry_shown_us": shown.per("node0", deliveries, alone.steady.cpu["node0"]),
            "telemetry_shown_bytes": self._shown_bytes,
            "telemetry_elsewhere_us": max(0.0, elsewhere) * 1e6 / per_s,
            "telemetry_bus_us": max(0.0, between) * 1e6 / per_s,
            "telemetry_bus_bytes": apart.steady.nodes[0]["bus_bytes"] / per_s,
        }  # fmt: skip

    async def _frames(self, known: dict[str, Any]) -> dict[str, Any]:
        points: dict[str, dict[float, float]] = {}
        last: dict[str, float] = {}
        for kilobytes in self._scale.frame_kb:
            last = await self._frames_of(kilobytes, known)
            for name, value in last.items():
                points.setdefault(name, {})[kilobytes] = value
        costs: dict[str, Any] = {
            name: Cost.through(values)
            for name, values in points.items()
            if name not in ("bus_frame_overhead_bytes", "viewer_kib")
        }
        kept = {name: last[name] for name in ("bus_frame_overhead_bytes", "viewer_kib")}
        return costs | kept

    async def _frames_of(self, kilobytes: int, known: dict[str, Any]) -> dict[str, float]:
        count = self._scale.streaming
        sends: dict[str, Any] = {"headsets": count, "fps": _FPS, "frame_bytes": kilobytes * 1000}
        unwatched = await self._run(f"{kilobytes} kB frames that nobody watches", **sends)
        one = await self._run(f"{kilobytes} kB frames, a viewer each", viewers=count, **sends)
        three = await self._run(f"{kilobytes} kB frames, three each", viewers=3 * count, **sends)
        cross = await self._run(f"{kilobytes} kB frames to viewers elsewhere", 2, viewers=count,
                                headset_servers=1, viewer_shift=1, **sends)  # fmt: skip
        rest = (known["node_idle_us_per_s"] + count * known["connection_us_per_s"]) / 1e6
        watched = rest + count * known["connection_us_per_s"] / 1e6
        sent, crossed = _sent(unwatched), _sent(cross)
        frame_in = unwatched.per("node0", sent, rest)
        first = one.per("node0", _sent(one), watched)
        all_three = three.per("node0", _sent(three), watched)
        # A viewer's share of a frame that is delivered to all of them.
        frame_out = max(0.0, all_three - first) / 2
        check = max(0.0, first - frame_in - frame_out)
        delivered = cross.delivered()
        received = cross.per("node1", delivered, rest)
        published = cross.steady.nodes[0]["bus_out"]
        through = cross.steady.valkeys["state"]
        more_kib = three.joining.grown_mib["node0"] - one.joining.grown_mib["node0"]
        return {
            "frame_in": frame_in,
            "frame_check": check,
            "frame_out": frame_out,
            "frame_publish": max(0.0, cross.per("node0", crossed, rest) - frame_in - check),
            "frame_receive": max(0.0, received - frame_out),
            "bus_frame": cross.per("state", published),
            "bus_frame_overhead_bytes": max(
                0.0, through["total_net_output_bytes"] / delivered - kilobytes * 1000
            ),
            "viewer_kib": max(0.0, more_kib * 1024 / (2 * count)),
        }


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
