"""Everything that a run plays with: the site, and the clients on their lines."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio as redis
from socketio.exceptions import SocketIOError
from support import TOKENS

from chaos.crew import ChaosHeadset, ChaosTablet, Operator, recorder_of
from chaos.lines import Line
from chaos.site import Site, site
from quest_backend.protocol.events import DeviceType
from quest_backend.simulator import pictures
from quest_backend.simulator.client import RequestFailed, SimulatedClient
from quest_backend.simulator.devices import SimulatedDashboard

_WEBSOCKET = ["websocket"]
_FPS = 1.0
_PARALLEL = 16
# A busy machine may take longer than a client waits.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Size:
    """How large a run is."""

    headsets: int = 60
    tablets: int = 6
    nodes: int = 3
    grace_s: float = 15.0


@dataclass(slots=True)
class World:
    """``dashboards``: one at each server, whichever it is."""

    size: Size
    site: Site
    headsets: list[ChaosHeadset]
    operators: list[Operator]
    dashboards: list[SimulatedDashboard]
    redis: Any  # redis.Redis, whose stubs mix text and bytes

    def lines(self) -> list[Line]:
        """Of headsets and tablets."""
        headsets = [headset.line for headset in self.headsets]
        return headsets + [operator.line for operator in self.operators]

    def reconnects(self) -> int:
        """How often any client has come back so far."""
        clients: list[SimulatedClient] = [
            *self.headsets, *(one.tablet for one in self.operators), *self.dashboards
        ]  # fmt: skip
        return sum(client.reconnects for client in clients)


@asynccontextmanager
async def world(folder: Path, size: Size, seed: int) -> AsyncIterator[World]:
    """Start everything, and wait until all are connected."""
    chance = random.Random(f"{seed}/world")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(site(folder, size.nodes, size.grace_s))
        client = redis.Redis.from_url(
            running.valkey.url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5
        )
        stack.push_async_callback(client.aclose)

        async def line(at: int, *, fixed: bool) -> Line:
            made = Line(running.ports, at, fixed=fixed)
            await made.open()
            stack.push_async_callback(made.close)
            return made

        frames = await asyncio.to_thread(pictures.loop, "CHAOS", 8)
        encoders = asyncio.Semaphore(2)
        headsets = []
        for number in range(size.headsets):
            its = await line(chance.randrange(size.nodes), fixed=chance.random() < 0.3)
            device_id = f"CHAOS_{number + 1:04d}"
            token = TOKENS.issue(device_id, DeviceType.HEADSET)
            headset = ChaosHeadset(
                its.url, device_id, token, _WEBSOCKET, frames=frames, fps=_FPS, seed=number
            )
            headset.line, headset.patient = its, chance.random() < 0.5
            headset.grace_s = size.grace_s
            headset.recorder = recorder_of(headset, token, encoders, long=number % 6 == 0)
            headsets.append(headset)
        operators = []
        share = size.headsets // size.tablets
        for number in range(size.tablets):
            its = await line(chance.randrange(size.nodes), fixed=chance.random() < 0.3)
            identity = f"CHAOS_TABLET_{number + 1}"
            token = TOKENS.issue(identity, DeviceType.TABLET)
            tablet = ChaosTablet(its.url, identity, token, _WEBSOCKET)
            operator = Operator(tablet, headsets[number * share : (number + 1) * share])
            tablet.line, tablet.grace_s = its, size.grace_s
            operators.append(operator)
        dashboards = []
        for number in range(size.nodes):
            its = await line(number, fixed=True)
            identity = f"CHAOS_DESK_{number + 1}"
            token = TOKENS.issue(identity, DeviceType.DASHBOARD)
            dashboards.append(SimulatedDashboard(its.url, identity, token, _WEBSOCKET))
        clients: list[SimulatedClient] = [
            *headsets, *(operator.tablet for operator in operators), *dashboards
        ]  # fmt: skip
        stack.push_async_callback(_stop, clients)
        await _connect(clients)
        for headset in headsets:
            headset.run()
        yield World(size, running, headsets, operators, dashboards, client)


async def _connect(clients: list[SimulatedClient]) -> None:
    gate = asyncio.Semaphore(_PARALLEL)

    async def one(client: SimulatedClient) -> None:
        async with gate:
            for left in reversed(range(_TRIES)):
                try:
                    await client.connect()
                except (SocketIOError, TimeoutError, aiohttp.ClientError, RequestFailed):
                    if not left:
                        raise
                    await asyncio.sleep(1)
                else:
                    return

    await asyncio.gather(*(one(client) for client in clients))


async def _stop(clients: list[SimulatedClient]) -> None:
    await asyncio.gather(*(client.stop() for client in clients), return_exceptions=True)
