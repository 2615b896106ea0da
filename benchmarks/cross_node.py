"""CPU that a preview frame costs on its way between nodes, beside python-socketio's Redis manager.

Both publish the same frames through the same Valkey from one event loop and take them on another
of the same process, so that the CPU time of both sides adds up; nobody is connected on either side.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import socketio
import uvloop
from rich.console import Console
from rich.table import Table

from quest_backend.metrics import BusCounts
from quest_backend.realtime.frame_packets import PASSING, Frame
from quest_backend.sockets.passing import Passed
from quest_backend.state.bus import Bus
from quest_backend.state.embedded import EmbeddedValkey

HEADSETS = 30
FPS = 30


async def ours(url: str, packet: bytes, seconds: float) -> tuple[float, int]:
    """CPU seconds, and frames that arrived."""
    came = 0

    def received(_channel: bytes, payload: bytes) -> None:
        nonlocal came
        frame = Frame.from_bytes(payload)
        assert frame is not None
        came += 1

    there, here = (Bus([url], 5.0, BusCounts()) for _ in range(2))
    there.start(lambda _channel, _payload: None)
    here.start(received)
    channels = [b"frames:headset_%02d" % number for number in range(HEADSETS)]
    here.subscribe(frozenset(channels))

    def publish(number: int) -> None:
        frame = Frame(number, time.time(), Passed(PASSING, packet))
        there.newest(channels[number % HEADSETS], *frame.to_parts())

    try:
        return await measured(publish, seconds, lambda: came)
    finally:
        await there.stop()
        await here.stop()


async def theirs(url: str, packet: bytes, seconds: float) -> tuple[float, int]:
    """As ``ours``, with what python-socketio's documentation recommends."""
    came = 0
    picture = json.loads(packet[2:])[1]

    class Counting(socketio.AsyncRedisManager):  # type: ignore[misc]  # theirs is untyped
        async def _handle_emit(self, message: dict[str, Any]) -> None:
            nonlocal came
            came += 1
            await super()._handle_emit(message)

    there = socketio.AsyncRedisManager(url)
    servers = [socketio.AsyncServer(client_manager=m) for m in (there, Counting(url))]
    for server in servers:
        server.manager.initialize()
    tasks: set[asyncio.Task[Any]] = set()

    def publish(number: int) -> None:
        room = f"device:headset_{number % HEADSETS:02d}"
        task = asyncio.get_running_loop().create_task(
            servers[0].emit("on-headset-frame-updated", picture, room=room)
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listeners = [m.manager.thread for m in servers]
    try:
        return await measured(publish, seconds, lambda: came)
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


async def measured(publish: Any, seconds: float, came: Any) -> tuple[float, int]:
    """Publish at the fleet's pace; the first second only warms up."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.5)
    start, number = loop.time(), 0
    cpu = began = 0.0
    before = 0
    while loop.time() - start < 1 + seconds:
        if not began and loop.time() - start >= 1:
            began, cpu, before = loop.time(), time.process_time(), came()
        publish(number)
        number += 1
        # Frames of different headsets come apart, as they do from a lab.
        await asyncio.sleep(max(0.0, start + number / (HEADSETS * FPS) - loop.time()))
    return time.process_time() - cpu, came() - before


async def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Microseconds of CPU per frame, of each, in turns."""
    packet = PASSING.came + b"A" * (options.kilobytes * 1000) + b'"]'
    found: dict[str, list[float]] = {"ours": [], "python-socketio": []}
    with tempfile.TemporaryDirectory() as folder:
        valkey = EmbeddedValkey(Path(folder))
        url = await valkey.start()
        try:
            for _ in range(options.runs):
                for name, run in (("ours", ours), ("python-socketio", theirs)):
                    cpu, frames = await run(url, packet, options.seconds)
                    if frames < 0.9 * options.seconds * HEADSETS * FPS:
                        raise SystemExit(f"{name}: only {frames} frames arrived")
                    found[name].append(cpu / frames * 1e6)
        finally:
            await valkey.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each run (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each (%(default)s)")
    parser.add_argument("--kilobytes", type=int, default=40, help="of a frame (%(default)s)")
    options = parser.parse_args()
    found = uvloop.run(measure(options))
    table = Table(
        title=f"CPU per cross-node frame, {HEADSETS} headsets at {FPS} fps, {options.kilobytes} kB",
    )
    table.add_column("")
    table.add_column("µs, median", justify="right")
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, value in medians.items():
        table.add_row(name, f"{value:.0f}")
    Console().print(table)
    print(f"ratio cross_node_frame {medians['ours'] / medians['python-socketio']:.3f}")


if __name__ == "__main__":
    main()
