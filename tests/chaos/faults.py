"""What goes wrong: a plan that follows from a seed, and how each fault is done."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum

from chaos.crew import ChaosHeadset, Operator
from chaos.lines import Line
from chaos.world import World

_OUTAGE_S = 10.0


class Fault(StrEnum):
    """What can go wrong."""

    NODE_KILLED = "node-killed"
    NODE_KILLED_TWICE = "node-killed-twice"
    NODE_UPGRADED = "node-upgraded"
    VALKEY_HANGS = "valkey-hangs"
    VALKEY_KILLED = "valkey-killed"
    CONNECTIONS_CUT = "connections-cut"
    WIFI_LOST = "wifi-lost"
    CLIENTS_MOVED = "clients-moved"
    LEFT_FOR_GOOD = "left-for-good"


def plan(seed: int) -> Iterator[Fault]:
    """For ever: all faults in an order of the seed's, then in another one."""
    chance = random.Random(f"{seed}/plan")
    while True:
        yield from chance.sample(list(Fault), len(Fault))


async def strike(fault: Fault, world: World, chance: random.Random) -> str:
    """Do it; what was done. When this returns everything works again, and may converge."""
    return await _HOW[fault](world, chance)


async def _node_killed(world: World, chance: random.Random) -> str:
    number = chance.randrange(len(world.site.servers))
    down_s = chance.uniform(0, 6)
    await world.site.kill(number)
    await asyncio.sleep(down_s)
    await world.site.start(number)
    return f"node {number + 1} killed with -9, started again after {down_s:.1f} s"


async def _node_killed_twice(world: World, chance: random.Random) -> str:
    number = chance.randrange(len(world.site.servers))
    await world.site.kill(number)
    await asyncio.sleep(6)  # the others have missed it
    await world.site.start(number)
    await asyncio.sleep(2)
    await world.site.kill(number)
    await asyncio.sleep(8)
    await world.site.start(number)
    return f"node {number + 1} killed with -9, again 2 s after its return"


async def _node_upgraded(world: World, chance: random.Random) -> str:
    number = chance.randrange(len(world.site.servers))
    await world.site.stop(number)
    await world.site.start(number)
    return f"node {number + 1} stopped with SIGTERM and started again"


async def _valkey_hangs(world: World, chance: random.Random) -> str:
    before = _cut_some(world, chance, 0.2)
    await asyncio.sleep(chance.uniform(0, 2))
    world.site.valkey.signal(signal.SIGSTOP)
    meanwhile = await _meanwhile(world, chance)
    world.site.valkey.signal(signal.SIGCONT)
    return f"Valkey stopped for {_OUTAGE_S:g} s; {before} clients cut before, {meanwhile} meanwhile"


async def _valkey_killed(world: World, chance: random.Random) -> str:
    before = _cut_some(world, chance, 0.2)
    await asyncio.sleep(chance.uniform(0, 2))
    world.site.valkey.kill()
    meanwhile = await _meanwhile(world, chance)
    world.site.valkey.start()
    return f"Valkey killed for {_OUTAGE_S:g} s; {before} clients cut before, {meanwhile} meanwhile"


async def _meanwhile(world: World, chance: random.Random) -> int:
    first = chance.uniform(1, _OUTAGE_S - 1)
    await asyncio.sleep(first)
    count = _cut_some(world, chance, 0.3)
    await asyncio.sleep(_OUTAGE_S - first)
    return count


def _cut_some(world: World, chance: random.Random, share: float) -> int:
    lines = _some(world.lines(), chance, share)
    for line in lines:
        if chance.random() < 0.5:
            line.at = chance.randrange(len(world.site.servers))
        line.cut(silent=chance.random() < 0.3)
    return len(lines)


async def _connections_cut(world: World, chance: random.Random) -> str:
    count = 0
    for _ in range(3):
        lines = _some(world.lines(), chance, 0.3)
        for line in lines:
            line.cut()
        world.site.s3_line.cut()
        count += len(lines)
        await asyncio.sleep(chance.uniform(0.2, 2))
    return f"{count} times a client's connections cut, and all to the store"


async def _wifi_lost(world: World, chance: random.Random) -> str:
    lines = _some(world.lines(), chance, 0.4)
    for line in lines:
        line.down = True
        line.cut(silent=True)
    back = [asyncio.create_task(_up_again(line, chance.uniform(0, 5))) for line in lines]
    await asyncio.gather(*back)
    return f"{len(lines)} clients without Wi-Fi for up to 5 s; servers hear nothing of it"


async def _up_again(line: Line, after_s: float) -> None:
    await asyncio.sleep(after_s)
    line.down = False


async def _clients_moved(world: World, chance: random.Random) -> str:
    lines = _some(world.lines(), chance, 0.5)
    for line in lines:
        others = [n for n in range(len(world.site.servers)) if n != line.at]
        line.at = chance.choice(others or [line.at])
        # Half of them connect anew while their old connection still counts.
        line.cut(silent=chance.random() < 0.5)
        await asyncio.sleep(chance.uniform(0, 0.05))
    return f"{len(lines)} clients moved to another node"


async def _left_for_good(world: World, chance: random.Random) -> str:
    operator = chance.choice(world.operators)
    headsets = chance.sample(world.headsets, 2)
    gone: list[Operator | ChaosHeadset] = [operator, *headsets]
    for one in gone:
        one.absent = True
        one.line.down = True
        one.line.cut()
    await asyncio.sleep(world.size.grace_s)
    operator.walked_off()
    for headset in headsets:
        for its in world.operators:
            its.lost(headset.device_id)
    return f"{operator.tablet.device_id} and 2 headsets away for longer than their grace"


def come_back(world: World) -> None:
    """Whoever was away on purpose is there again."""
    everyone: list[Operator | ChaosHeadset] = [*world.operators, *world.headsets]
    for one in everyone:
        one.absent = one.line.down = False


def _some(lines: list[Line], chance: random.Random, share: float) -> list[Line]:
    return chance.sample(lines, max(1, round(len(lines) * share)))


_HOW: dict[Fault, Callable[[World, random.Random], Awaitable[str]]] = {
    Fault.NODE_KILLED: _node_killed,
    Fault.NODE_KILLED_TWICE: _node_killed_twice,
    Fault.NODE_UPGRADED: _node_upgraded,
    Fault.VALKEY_HANGS: _valkey_hangs,
    Fault.VALKEY_KILLED: _valkey_killed,
    Fault.CONNECTIONS_CUT: _connections_cut,
    Fault.WIFI_LOST: _wifi_lost,
    Fault.CLIENTS_MOVED: _clients_moved,
    Fault.LEFT_FOR_GOOD: _left_for_good,
}
