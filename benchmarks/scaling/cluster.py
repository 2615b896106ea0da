"""Real servers on real Valkeys and one real S3, and what they have used so far."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import psutil
import redis
from cluster import store as valkey
from servers import JWT_SECRET, ServerFailed
from support import Server, free_port

from quest_backend.storage.embedded import REGION, EmbeddedS3
from quest_backend.storage.s3 import ObjectStore

BUCKET = "scaling"

_METRICS = {
    "bus_lost": r"^turing_bus_lost_total (\S+)",
    "bus_out": r'^turing_bus_messages_total\{direction="out"\} (\S+)',
    "bus_in": r'^turing_bus_messages_total\{direction="in"\} (\S+)',
    "bus_bytes": r"^turing_bus_sent_bytes_total (\S+)",
    "dropped": r"^turing_frames_dropped_total (\S+)",
    "lists_out": r'^turing_socket_messages_total\{direction="out",'
                 r'event_type="on-headsets-with-lock-status-updated"\} (\S+)',
}  # fmt: skip
_INFO = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")
_SCRAPE_TIMEOUT_S = 60
_START_TRIES = 8  # of half a minute each


def leave_nothing_behind() -> None:
    """Also when a benchmark is ended in the background: servers and folders go with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


@dataclass(frozen=True, slots=True)
class Counted:
    """Counters, and when they were read."""

    at: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What processes have used since they started."""

    at: float
    cpu_s: dict[str, float]
    rss_mib: dict[str, float]
    nodes: list[Counted]
    valkeys: dict[str, Counted]


@dataclass(frozen=True, slots=True)
class Used:
    """The difference of two readings, each second; ``rss_mib`` is how it was at the end."""

    seconds: float
    cpu: dict[str, float]
    rss_mib: dict[str, float]
    grown_mib: dict[str, float]
    nodes: list[dict[str, float]]
    valkeys: dict[str, dict[str, float]]

    @classmethod
    def between(cls, before: Reading, after: Reading) -> "Used":
        """From ``before`` to ``after``; what was counted later than ``after.at`` was before it."""
        seconds = after.at - before.at

        def rates(old: Counted, new: Counted) -> dict[str, float]:
            took = max(0.1, after.at - old.at)
            return {name: (new.values[name] - old.values[name]) / took for name in new.values}

        return cls(
            seconds,
            {name: (after.cpu_s[name] - before.cpu_s[name]) / seconds for name in after.cpu_s},
            after.rss_mib,
            {name: after.rss_mib[name] - before.rss_mib[name] for name in after.rss_mib},
            [rates(old, new) for old, new in zip(before.nodes, after.nodes, strict=True)],
            {name: rates(before.valkeys[name], new) for name, new in after.valkeys.items()},
        )

    def bus(self, key: str) -> float:
        """What all Valkeys of the bus did; the state's where there are no others."""
        names = [name for name in self.valkeys if name.startswith("bus")] or ["state"]
        return sum(self.valkeys[name][key] for name in names)

    def bus_cpu(self) -> float:
        """Cores that they used."""
        names = [name for name in self.valkeys if name.startswith("bus")] or ["state"]
        return sum(self.cpu[name] for name in names)


@dataclass(slots=True)
class Cluster:
    """Servers that run, with what they share."""

    nodes: list[Server]
    valkey_urls: dict[str, str]
    s3: EmbeddedS3
    env: dict[str, str]
    extra: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, psutil.Process] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, node in enumerate(self.nodes):
            assert node.process is not None
            self._processes[f"node{number}"] = psutil.Process(node.process.pid)
        for name, url in self.valkey_urls.items():
            client = self._clients[name] = redis.Redis.from_url(url, decode_responses=True)
            self._processes[name] = psutil.Process(int(client.info("server")["process_id"]))

    def watch(self, name: str, pid: int) -> None:
        """Read this process too."""
        self._processes[name] = psutil.Process(pid)

    def close(self) -> None:
        """Leave the Valkeys."""
        for client in self._clients.values():
            client.close()

    @property
    def ports(self) -> str:
        """As the load generator takes them."""
        return ",".join(str(node.port) for node in self.nodes)

    def pid(self) -> int:
        """Of the first server."""
        return self._processes["node0"].pid

    def reading(self) -> Reading:
        """What was used so far: processes first, at once; then counters, which takes a moment."""
        at, cpu, rss = monotonic(), {}, {}
        for name, process in self._processes.items():
            times = process.cpu_times()
            cpu[name] = times.user + times.system
            rss[name] = process.memory_info().rss / 2**20
        valkeys = {}
        for name, client in self._clients.items():
            info = client.info("stats")
            valkeys[name] = Counted(monotonic(), {key: float(info[key]) for key in _INFO})
        # Side by side: a server whose core is full takes its time.
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            nodes = list(pool.map(_scrape, self.nodes))
        return Reading(at, cpu, rss, nodes, valkeys)


def _scrape(node: Server) -> Counted:
    text = httpx.get(f"{node.url}/metrics", timeout=_SCRAPE_TIMEOUT_S).text
    found = {name: re.search(pattern, text, re.MULTILINE) for name, pattern in _METRICS.items()}
    values = {name: float(match[1]) if match else 0.0 for name, match in found.items()}
    return Counted(monotonic(), values)


class Shared:
    """One S3 for all clusters of a run: it takes longest to start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.s3 = EmbeddedS3(folder)
        self._number = 0

    async def __aenter__(self) -> "Shared":
        await self.s3.start()
        store = ObjectStore(BUCKET, REGION, self.s3.endpoint, self.s3.credentials)
        await store.open()
        try:
            await store.make_bucket()
        finally:
            await store.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.s3.stop()

    @asynccontextmanager
    async def cluster(
        self, nodes: int, *, shards: int = 0, s3_url: str = "", **env: str
    ) -> AsyncIterator[Cluster]:
        """Fresh servers on a fresh Valkey, and ``shards`` more for the bus (0: the same)."""
        self._number += 1
        folder = self.folder / f"c{self._number}"
        with ExitStack() as stack:
            names = ["state", *(f"bus{number}" for number in range(shards))]
            urls = {name: f"redis://127.0.0.1:{free_port()}" for name in names}
            for name, url in urls.items():
                # TCP, as between machines.
                options = ("--port", url.rpartition(":")[2], "--appendfsync", "everysec")
                stack.enter_context(valkey(folder / name, *options, url=url))
            settings = {
                "JWT_SECRET": JWT_SECRET,
                "REDIS_URL": urls["state"],
                "BUS_URLS": ",".join(url for name, url in urls.items() if name != "state"),
                "S3_ENDPOINT_URL": s3_url or self.s3.endpoint,
                "AWS_ACCESS_KEY_ID": self.s3.credentials.access_key,
                "AWS_SECRET_ACCESS_KEY": self.s3.credentials.secret_key,
                "S3_BUCKET_NAME": BUCKET,
                # A busy machine is late, not dead.
                "NODE_TIMEOUT_SECONDS": "60",
                "REDIS_TIMEOUT_MS": "20000",
                "DRAIN_SECONDS": "0",
                "LOG_LEVEL": "warning",
                **env,
            }
            running = [Server(folder / f"n{number}", **settings) for number in range(nodes)]
            for server in running:
                stack.callback(_stop, server)
                server.spawn()
            for server in running:
                await asyncio.to_thread(_wait, server)
            cluster = Cluster(running, urls, self.s3, settings)
            stack.callback(cluster.close)
            yield cluster


def _wait(server: Server) -> None:
    """Until it answers; on a busy machine that takes longer than the tests allow one.

    Raises:
        ServerFailed: it ended, or is not there after minutes.
    """
    for _ in range(_START_TRIES):
        try:
            server.wait()
        except AssertionError as error:
            trouble = str(error)
            if server.process is None or server.process.poll() is not None:
                break
        else:
            return
    raise ServerFailed(trouble)


def _stop(server: Server) -> None:
    if server.process is not None and server.process.poll() is None:
        # Nothing of it is kept, and a goodbye to thousands of clients takes long.
        server.kill()
