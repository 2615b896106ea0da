"""What grows with the fleet on every server: lists for everybody, and whole-fleet answers."""

import asyncio
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import httpx
from load import Load
from servers import JWT_SECRET
from support import Client

from quest_backend.fleet.lists import pause_s
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.tokens import Tokens
from scaling.cluster import Cluster, Reading, Shared, Used
from scaling.probe import probe


@dataclass(frozen=True, slots=True)
class Scale:
    """How many headsets, one size after the other; least seconds before and with renames."""

    sizes: tuple[int, ...]
    window_s: float

    def window_for(self, headsets: int) -> float:
        """Long enough for two lists, which a large fleet gets rarely."""
        return max(self.window_s, _LISTS * pause_s(_ABOUT_BYTES * headsets, headsets))


FULL, QUICK = Scale((1000, 2000), 6.0), Scale((300, 700), 2.5)
# Of the three lists, each headset's part; to know beforehand how rare they will be.
_ABOUT_BYTES = 140
_LISTS = 2.3
_RENAME_EVERY_S = 0.5
_EVENTS = (
    catalogue.ON_HEADSETS_UPDATED,
    catalogue.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED,
    catalogue.ON_DEVICE_LOCKS_UPDATED,
)


@dataclass(frozen=True, slots=True)
class WholeFleet:
    """One server with so many headsets, somebody renaming one twice a second.

    ``list_bytes`` are all three lists, ``lists_per_s`` what each client got. ``longest_ms`` is the
    longest that a small request waited meanwhile.
    """

    headsets: int
    list_bytes: float
    lists_per_s: float
    cores: float
    us_per_kb: float
    longest_ms: float
    scrape_ms: float
    devices_ms: float
    rss_mib: float


async def measure(
    shared: Shared, tokens: Path, scale: Scale, show: Callable[[str], None]
) -> list[WholeFleet]:
    """One row for each size."""
    rows = []
    for count in scale.sizes:
        window_s = scale.window_for(count)
        async with shared.cluster(1) as cluster:
            meanwhile = _Meanwhile(cluster, window_s)
            load = Load(headsets=count, warmup=2, seconds=3 * window_s, inflight=128)
            found = await probe(cluster, load, tokens, meanwhile.run)
        row = meanwhile.row(count, found.steady.rss_mib["node0"])
        rows.append(row)
        show(f"{count} headsets, lists of {row.list_bytes / 1e3:.0f} kB      "
             f"{row.lists_per_s:.2f}/s to each, {row.cores:.0%} of a core")  # fmt: skip
    return rows


class _Meanwhile:
    """First quiet, then renames."""

    def __init__(self, cluster: Cluster, window_s: float) -> None:
        self._cluster, self._window_s = cluster, window_s
        self._node = cluster.nodes[0]
        self._quiet: list[Reading] = []
        self._busy: list[Reading] = []
        self._bytes = 0.0
        self._longest = self._scrape = self._devices = 0.0

    async def run(self) -> None:
        self._bytes = await self._list_bytes()
        async with self._node.http(admin=True) as http:
            self._scrape = await _median_s(http, "/metrics")
            self._devices = await _median_s(http, "/api/devices")
            read = asyncio.to_thread
            self._quiet = [await read(self._cluster.reading)]
            await asyncio.sleep(self._window_s)
            self._quiet.append(await read(self._cluster.reading))
            self._busy = [await read(self._cluster.reading)]
            renaming = asyncio.create_task(self._rename(http))
            await self._wait_on_it(self._window_s)
            renaming.cancel()
            await asyncio.gather(renaming, return_exceptions=True)
            self._busy.append(await read(self._cluster.reading))

    async def _list_bytes(self) -> float:
        token = Tokens(JWT_SECRET, "unused").issue("BENCH_LOOKER", DeviceType.TABLET)
        async with Client(self._node, DeviceType.TABLET, "BENCH_LOOKER", token=token) as looker:
            sizes = [
                len(json.dumps([event.name, await looker.gets(event)], separators=(",", ":")))
                for event in _EVENTS
            ]
        return sum(sizes)

    async def _rename(self, http: httpx.AsyncClient) -> None:
        number = 0
        while True:
            number += 1
            body = {"customName": f"bench {number}"}
            answer = await http.post("/api/devices/BENCH_H_00000/name", json=body, timeout=60)
            answer.raise_for_status()
            await asyncio.sleep(_RENAME_EVERY_S)

    async def _wait_on_it(self, seconds: float) -> None:
        """Small requests one after the other: how long the longest took."""
        until = perf_counter() + seconds
        async with self._node.http() as http:
            while perf_counter() < until:
                started = perf_counter()
                await http.get("/test", timeout=60)
                self._longest = max(self._longest, perf_counter() - started)
                await asyncio.sleep(0.02)

    def row(self, count: int, rss_mib: float) -> WholeFleet:
        quiet, busy = Used.between(*self._quiet), Used.between(*self._busy)
        lists_per_s = busy.nodes[0]["lists_out"] / count
        cores = max(0.0, busy.cpu["node0"] - quiet.cpu["node0"])
        kb_per_s = lists_per_s * count * self._bytes / 1000
        return WholeFleet(
            headsets=count,
            list_bytes=self._bytes,
            lists_per_s=lists_per_s,
            cores=cores,
            us_per_kb=cores * 1e6 / kb_per_s if kb_per_s else 0.0,
            longest_ms=self._longest * 1000,
            scrape_ms=self._scrape * 1000,
            devices_ms=self._devices * 1000,
            rss_mib=rss_mib,
        )


async def _median_s(http: httpx.AsyncClient, path: str) -> float:
    took = []
    for _ in range(3):
        started = perf_counter()
        (await http.get(path, timeout=60)).raise_for_status()
        took.append(perf_counter() - started)
    return statistics.median(took)
