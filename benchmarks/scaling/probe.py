"""Let the load generator play a fleet on a cluster, and read what everybody used meanwhile."""

import asyncio
import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Load

from scaling import ROOT
from scaling.cluster import Cluster, Used

LOAD = ROOT / "benchmarks" / "relay" / "build" / "load"
_SETUP_S = 240


class ProbeFailed(Exception):  # noqa: N818 - reads as what it says
    """The clients could not do their part; the message says why."""


@dataclass(frozen=True, slots=True)
class Probe:
    """``seen`` is what the clients saw (see ``load.c``); the rest is each second.

    ``joining`` is from before the first client to the measured part, ``steady`` the measured part.
    """

    load: Load
    seen: dict[str, Any]
    joining: Used
    steady: Used

    def delivered(self, kind: str = "frames") -> float:
        """Messages of a kind that arrived, each second."""
        return float(self.seen[kind]["delivered"]) / float(self.seen["window_s"])

    def per(self, process: str, events_per_s: float, less: float = 0.0) -> float:
        """Microseconds of CPU of a process for each event, ``less`` cores that are not for it."""
        return max(0.0, self.steady.cpu[process] - less) * 1e6 / events_per_s


async def probe(
    cluster: Cluster,
    load: Load,
    tokens: Path,
    during: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Probe:
    """Play ``load``; ``during`` runs beside the measured part.

    Raises:
        ProbeFailed: clients could not connect or were lost, or nothing arrived.
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
            [str(LOAD), f"--port={cluster.ports}", f"--pid={cluster.pid()}", f"--tokens={tokens}",
             "--announce", *load.arguments()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
        )  # fmt: skip
        limit = threading.Timer(_SETUP_S + load.warmup + 3 * load.seconds, process.kill)
        limit.start()
        try:
            empty = await asyncio.to_thread(cluster.reading)
            await _line(process)
            begin = await asyncio.to_thread(cluster.reading)
            beside = asyncio.create_task(during()) if during is not None else None
            line = await _line(process)
            end = await asyncio.to_thread(cluster.reading)
            if beside is not None:
                await beside
            assert process.stdin is not None
            process.stdin.close()
            failed = await asyncio.to_thread(process.wait, 60)
        finally:
            limit.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        complaints.seek(0)
        trouble = complaints.read().decode().strip()
    if failed or not line:
        raise ProbeFailed(f"{trouble or 'the load generator did not end'}; {_logs(cluster)}")
    seen = json.loads(line)
    if seen["closed"]:
        raise ProbeFailed(f"servers closed {seen['closed']} connections; {_logs(cluster)}")
    return Probe(load, seen, Used.between(empty, begin), Used.between(begin, end))


async def _line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return await asyncio.to_thread(process.stdout.readline)


def _logs(cluster: Cluster) -> str:
    ends = [node.log.read_text()[-600:] for node in cluster.nodes]
    return "the servers' logs end:\n" + "\n--\n".join(ends)
