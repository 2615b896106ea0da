"""1,000 headsets that lose their connections and all come back within a second.

Prints the time until all are online again, the server's peak memory, the messages it sent, and
whether locks and the session were kept. The clients are raw WebSockets, so that they are not what
is measured. Usage: python benchmarks/reconnect_storm.py [--headsets 1000]
"""

import argparse
import asyncio
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import TOKENS, Server, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

HELD = 50
CONNECTED = f'42["{catalogue.ON_HEADSET_CONNECTED.name}"'


class Headset:
    """A bare WebSocket that says hello and answers pings."""

    def __init__(self, url: str, device_id: str) -> None:
        self.url = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        self.device_id = device_id
        self.token = TOKENS.issue(device_id, DeviceType.HEADSET)
        self.ws: aiohttp.ClientWebSocketResponse | None = None
        self.reader: asyncio.Task[None] | None = None
        self.online = asyncio.Event()

    async def connect(self, http: aiohttp.ClientSession, delay: float = 0) -> None:
        await asyncio.sleep(delay)
        self.online.clear()
        self.ws = await http.ws_connect(self.url, max_msg_size=0)
        await self.ws.send_str("40" + json.dumps({"token": self.token}))
        self.reader = asyncio.get_running_loop().create_task(self._read(self.ws))
        await self.online.wait()

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            text = message.data
            if text == "2":
                await ws.send_str("3")
            elif text.startswith("40"):
                hello = json.dumps([catalogue.HEADSET_IDENTIFY.name, self.device_id])
                await ws.send_str("42" + hello)
            elif text.startswith(CONNECTED):
                self.online.set()

    def cut(self) -> None:
        assert self.ws is not None
        transport = self.ws._response.connection.transport  # type: ignore[union-attr]  # noqa: SLF001 - no goodbye on purpose
        assert transport is not None
        transport.abort()


async def sent(server: Server) -> float:
    async with server.http() as http:
        text = (await http.get("/metrics")).text
    return sum(
        float(n) for n in re.findall(r'socket_messages_total{direction="out".*} (\S+)', text)
    )


def peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0


async def run(count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), RATE_LIMIT_MULTIPLIER="1000", TABLET_GRACE_SECONDS="60")
        server.start()
        try:
            return await storm(server, count)
        finally:
            server.stop()


async def storm(server: Server, count: int) -> int:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    headsets = [Headset(server.url, f"STORM_{number:05d}") for number in range(count)]
    held = [headset.device_id for headset in headsets[:HELD]]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, tablet(server) as operator:
        for start in range(0, count, 100):
            await asyncio.gather(*(one.connect(http) for one in headsets[start : start + 100]))
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_CREATED, {"deviceIds": held}
        )
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await asyncio.sleep(3)
        before, cpu = await sent(server), process.cpu_times()
        for headset in headsets:
            headset.cut()
        started = time.monotonic()
        async with asyncio.timeout(120):
            await asyncio.gather(
                *(one.connect(http, index / count) for index, one in enumerate(headsets))
            )
        seconds = time.monotonic() - started
        await asyncio.sleep(5)
        after, spent = await sent(server), process.cpu_times()
        async with server.http(admin=True) as rest:
            summary = (await rest.get("/api/fleet/summary")).json()["summary"]
            shown = (await rest.get(f"/api/sessions/{session}")).json()["session"]
        used = spent.user + spent.system - cpu.user - cpu.system
        peak = peak_mib(process.pid)
        lost = count - summary["onlineDevices"] + HELD - summary["lockedDevices"]
        lost += shown["status"] != "recording"
        print(f"{count} headsets reconnecting within 1 s, {HELD} of them in a recording session")
        print(f"until all were online again   {seconds:.2f} s")
        print(f"server CPU                    {used:.2f} s")
        print(f"server peak memory            {peak:.0f} MiB")
        print(f"messages sent                 {after - before:.0f}")
        print(f"devices, locks, sessions lost {lost}")
        print(f"ratio storm_messages_per_headset {(after - before) / count:.2f}")
        for headset in headsets:
            headset.cut()
        return 1 if lost else 0


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--headsets", type=int, default=1000)
    sys.exit(asyncio.run(run(parser.parse_args().headsets)))
