"""A server that cannot keep up with the others: it loses frames, never commands or changes."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis.asyncio as redis
from cluster import frames_until, nodes, store
from lab import until
from support import Server, headset, tablet

from quest_backend.protocol import catalogue

pytestmark = pytest.mark.asyncio

PICTURE = "A" * 900_000
FRAMES = 60
PAIRS = 10


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server, str]]:
    """The second one will stand still. Nobody takes it for dead, nor does it think Valkey away."""
    with (
        store(tmp_path / "store") as valkey,
        nodes(
            tmp_path, 2, valkey.url, NODE_TIMEOUT_SECONDS="24", REDIS_TIMEOUT_MS="60000",
            FRAME_THROTTLE_MS="0", FRAME_BATCH_INTERVAL_MS="0",
            SOCKET_PING_INTERVAL_MS="60000", SOCKET_PING_TIMEOUT_MS="60000",
        ) as (quick, slow),
    ):  # fmt: skip
        yield quick, slow, valkey.url


def send(server: Server, number: int) -> None:
    assert server.process is not None
    server.process.send_signal(number)


async def bus_count(server: Server, name: str) -> float:
    async with server.http() as http:
        lines = (await http.get("/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"turing_bus_{name} ")]
    return float(line.split()[1])


@pytest.mark.timeout(240)
async def test_a_server_that_stands_still_loses_frames_but_no_command(
    pair: tuple[Server, Server, str],
) -> None:
    quick, slow, url = pair
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        quest, led = await enter(headset(quick)), await enter(headset(slow))
        boss, viewer = await enter(tablet(quick)), await enter(tablet(slow))
        both = {quest.identity, led.identity}
        for operator in (boss, viewer):
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: both <= set(ids))
        await viewer.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        await boss.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, led.identity)
        await frames_until(quest, viewer)
        viewer.forget()
        sent = await bus_count(quick, 'messages_total{direction="out"}')
        came = await bus_count(slow, 'messages_total{direction="in"}')
        lost = await bus_count(slow, "lost_total") + await bus_count(quick, "lost_total")

        async def published() -> float:
            return await bus_count(quick, 'messages_total{direction="out"}') - sent

        send(slow, signal.SIGSTOP)
        try:
            # More than the kernel holds for a reader that stands still; the rest is in Valkey.
            # One by one: of those that come while another is on its way, only the newest leaves.
            for number in range(10 * FRAMES):
                await quest.send(catalogue.HEADSET_FRAME, f"{number:04d}{PICTURE}")
                if await published() >= FRAMES:
                    break
            # As Valkey does when it is more than it will hold, which the kernel's buffers put off.
            async with redis.Redis.from_url(url) as client:
                await client.client_kill_filter(_type="pubsub")
            for _ in range(PAIRS):
                for command in (catalogue.TABLET_START_RECORDING, catalogue.TABLET_STOP_RECORDING):
                    reply = await boss.call(command, led.identity, timeout_s=30)
                    assert reply["success"], reply

        finally:
            send(slow, signal.SIGCONT)
        told = (catalogue.ON_TABLET_START_RECORDING.name, catalogue.ON_TABLET_STOP_RECORDING.name)
        async with asyncio.timeout(30):
            while len(commands := [n for n, _ in led.events if n in told]) < 2 * PAIRS:
                await led.gets(catalogue.ON_TABLET_STOP_RECORDING)
                await asyncio.sleep(0.05)
        await led.settled()
        assert [n for n, _ in led.events if n in told] == list(told) * PAIRS, commands
        await frames_until(quest, viewer)
        # What Valkey threw away is counted when the other server says how many it sent.

        async def counted() -> bool:
            out = await published()
            into = await bus_count(slow, 'messages_total{direction="in"}') - came
            gone = await bus_count(slow, "lost_total") + await bus_count(quick, "lost_total") - lost
            return 0 < out - into <= gone

        await until(counted, timeout_s=20)
        assert "closed by the state store" in slow.log.read_text()


async def test_a_server_that_is_far_behind_learns_what_it_can_no_longer_read(
    pair: tuple[Server, Server, str],
) -> None:
    """More changes than Valkey keeps: the fleet as it is, instead of a gap."""
    quick, slow, url = pair
    async with headset(quick) as quest, tablet(quick) as boss, tablet(slow) as viewer:
        for operator in (boss, viewer):
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)
        send(slow, signal.SIGSTOP)
        try:
            async with redis.Redis.from_url(url) as client:
                await changes(client, 10)
                await boss.ask(
                    catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity
                )
                await changes(client, 25_000)
        finally:
            send(slow, signal.SIGCONT)
        row = {"deviceId": quest.identity, "isLocked": True, "lockedByTabletId": boss.sid}
        await viewer.gets(catalogue.ON_DEVICE_LOCKS_UPDATED, lambda rows: row in rows, timeout_s=20)


async def changes(client: "redis.Redis", count: int) -> None:
    """What scripts write of tablets that are elsewhere."""
    for start in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for _ in range(min(1000, count - start)):
            pipe.xadd(
                "fleet:changes", {"m": '{"v": 1, "n": "", "k": "lead", "who": "far", "sid": "s"}'},
                maxlen=20_000, approximate=True,
            )  # fmt: skip
        await pipe.execute()
