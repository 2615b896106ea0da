"""deploy/valkey, run: three Valkeys and three Sentinels, and servers that follow the primary."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import redis
from cluster import frames_until, nodes
from lab import until
from sentinels import Guard, guard, wait_for
from support import Server, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.state.link import Link, command
from quest_backend.state.valkey import StoreUnavailable, Valkey

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with guard(tmp_path_factory.mktemp("guard")) as started:
        yield started


@pytest.fixture
def guarded(running: Guard) -> Guard:
    """One primary and two replicas, all well."""
    wait_for(running.settled, running.story)
    return running


@pytest_asyncio.fixture
async def valkey(guarded: Guard) -> AsyncIterator[Valkey]:
    opened = Valkey(guarded.url, 2)
    yield opened
    await opened.close()


async def takes_changes(valkey: Valkey) -> bool:
    try:
        await valkey.call(valkey.client.set("probe", "1"))
    except StoreUnavailable:
        return False
    return True


async def ready(server: Server) -> bool:
    async with server.http() as http:
        try:
            return (await http.get("/ready")).status_code == 200
        except httpx.TransportError:
            return False


async def test_servers_follow_the_primary_and_nothing_is_lost(
    tmp_path: Path, guarded: Guard
) -> None:
    """The primary is killed while two servers share a fleet; later the old one comes back."""
    env = {"TABLET_GRACE_SECONDS": "30"}
    with nodes(tmp_path, 2, guarded.url, **env) as (one, two):
        async with (
            headset(one) as quest, headset(one) as other, tablet(two) as operator,
            tablet(one) as rival,
        ):  # fmt: skip
            both = {quest.identity, other.identity}
            await operator.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: both <= set(ids))
            await operator.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity
            )
            await frames_until(quest, operator)

            old = guarded.primary
            old.kill()
            refusal = await operator.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ERROR, other.identity
            )
            assert refusal["code"] == "UNAVAILABLE"
            assert not await ready(one)
            await asyncio.to_thread(guarded.follow, old)
            for server in (one, two):
                await until(partial(ready, server))

            # What was before is so still, and new things can be done, over both servers.
            refusal = await rival.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCK_FAILED, quest.identity
            )
            assert refusal["reason"] == "Device locked by another tablet"
            await operator.ask(
                catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, other.identity
            )
            operator.forget()
            await frames_until(quest, operator)
            await operator.send(catalogue.TABLET_START_RECORDING, quest.identity)
            await quest.gets(catalogue.ON_TABLET_START_RECORDING)
            async with one.http(admin=True) as http:
                # QA's workers, which have connections of their own, follow, too.
                refresh = await http.post("/api/qa-metrics/refresh")
                assert refresh.status_code in (200, 202), refresh.text

            old.start()
            await asyncio.to_thread(wait_for, guarded.settled, guarded.story)
            await operator.send(catalogue.TABLET_STOP_RECORDING, quest.identity)
            await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)


async def _published(client: redis.Redis) -> bool:
    return "cmdstat_publish" in client.info("commandstats")


async def test_a_bus_link_follows_a_primary_that_hangs(guarded: Guard) -> None:
    """Nothing closes its connections: silence is what tells."""
    opened = asyncio.Event()
    link = Link(guarded.url, 2, opened=opened.set, reply=lambda _: None, resumed=lambda: None)
    keeping = asyncio.create_task(link.keep())
    try:
        async with asyncio.timeout(10):
            await opened.wait()
        old = guarded.primary
        opened.clear()
        old.signal(signal.SIGSTOP)
        try:
            new = await asyncio.to_thread(guarded.follow, old)
            async with asyncio.timeout(15):
                await opened.wait()
            link.write([command(b"PUBLISH", b"probe", b"1")])
            with new.client() as client:
                await until(lambda: _published(client))
        finally:
            old.signal(signal.SIGCONT)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_primary_without_replicas_says_try_again(guarded: Guard, valkey: Valkey) -> None:
    """min-replicas-to-write: what a cut-off primary would lose is not taken."""
    await until(lambda: takes_changes(valkey))
    old = guarded.primary
    replicas = [each for each in guarded.valkeys if each is not old]
    for each in replicas:
        each.kill()
    try:
        with old.client() as client:
            await asyncio.to_thread(
                wait_for, lambda: client.info("replication")["connected_slaves"] == 0, guarded.story
            )
        with pytest.raises(StoreUnavailable, match=r"takes no changes.*NOREPLICAS"):
            await valkey.call(valkey.client.set("probe", "2"))
        both = valkey.client.pipeline(transaction=True)
        both.set("probe", "2")
        both.set("other", "2")
        with pytest.raises(StoreUnavailable, match=r"takes no changes.*NOREPLICAS"):
            await valkey.call(both.execute())
    finally:
        for each in replicas:
            each.start()
    await until(lambda: takes_changes(valkey))


async def test_no_sentinel_is_an_outage_not_a_hang() -> None:
    nowhere = Valkey("redis+sentinel://127.0.0.1:1,127.0.0.1:2/quest", 0.5)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="does not answer: Error 111"):
        await nowhere.ping()
    assert time.monotonic() - started < 2
    await nowhere.close()


# Last: a plain move leaves the old primary as it is for ten seconds.
@pytest.mark.parametrize("how", [["COORDINATED"], []], ids=["coordinated", "plain"])
async def test_a_planned_move_is_followed(guarded: Guard, valkey: Valkey, how: list[str]) -> None:
    """``SENTINEL FAILOVER`` before a primary is taken down. Plain, the old one hears of it last."""
    await until(lambda: takes_changes(valkey))
    old = guarded.primary
    await asyncio.to_thread(guarded.ask_failover, *how)
    new = await asyncio.to_thread(guarded.follow, old)
    await until(lambda: takes_changes(valkey), 8)
    with new.client() as client:
        assert client.get("probe") == "1"
