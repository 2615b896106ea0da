"""The bus between nodes, on Valkey 9 and Redis 7: what arrives, what is replaced, what is lost."""

import asyncio
import signal
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cluster import store

from quest_backend.metrics import BusCounts
from quest_backend.state.bus import Bus
from quest_backend.state.changes import Changes
from quest_backend.state.valkey import Valkey

pytestmark = pytest.mark.asyncio
A, B = b"frames:headset_a", b"frames:headset_b"


class Listener:
    def __init__(self, urls: list[str]) -> None:
        self.counts = BusCounts()
        self.bus = Bus(urls, 2.0, self.counts)
        self.came: list[tuple[bytes, bytes]] = []
        self._news = asyncio.Event()

    def take(self, channel: bytes, payload: bytes) -> None:
        self.came.append((channel, payload))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def two(*urls: str) -> AsyncIterator[tuple[Listener, Listener]]:
    there, here = Listener(list(urls)), Listener(list(urls))
    there.bus.start(there.take)
    here.bus.start(here.take)
    try:
        yield there, here
    finally:
        await there.bus.stop()
        await here.bus.stop()


async def heard(there: Listener, here: Listener, *channels: bytes) -> None:
    """``here`` is known to hear these: something published there has come."""
    here.bus.subscribe(frozenset(channels))
    for channel in channels:
        async with asyncio.timeout(15):
            while (channel, b"?") not in here.came:
                there.bus.message(channel, b"?")
                await asyncio.sleep(0.02)


async def lose_one(there: Listener, channels: list[bytes]) -> None:
    """It is known there that a store is away."""
    before = there.counts.lost
    async with asyncio.timeout(5):
        while there.counts.lost == before:
            for channel in channels:
                there.bus.newest(channel, b"\x01into nothing")
            await asyncio.sleep(0.01)


async def test_frames_and_messages_cross_as_they_are(store_url: str) -> None:
    payload = bytes(range(256)) * 400
    async with two(store_url) as (there, here):
        await heard(there, here, A)
        there.bus.newest(A, b"\x01", payload)
        there.bus.message(A, b"Eone")
        there.bus.message(A, b"Etwo")
        there.bus.newest(B, b"\x01nobody hears it")
        await here.until(lambda: (A, b"Etwo") in here.came)
        assert [came for came in here.came if came[1] != b"?"] == [
            (A, b"\x01" + payload),
            (A, b"Eone"),
            (A, b"Etwo"),
        ]
        here.bus.subscribe(frozenset([B]))
        await heard(there, here, B)
        here.came.clear()
        there.bus.newest(A, b"\x01not any more")
        there.bus.newest(B, b"\x01still")
        await here.until(lambda: bool(here.came))
        assert here.came == [(B, b"\x01still")]


async def test_what_comes_faster_than_it_is_taken_is_the_newest_and_counted(store_url: str) -> None:
    async with two(store_url) as (there, here):
        await heard(there, here, A)
        before = here.counts.received
        for number in range(1000):
            there.bus.newest(A, b"\x01%d" % number)
        await here.until(lambda: (A, b"\x01999") in here.came)
        assert here.counts.received - before == 1000
        shown = [came for came in here.came if came[1] != b"?"]
        assert len(shown) + here.counts.lost == 1000
        assert here.counts.lost > 0


async def test_a_store_that_takes_nothing_holds_one_frame_per_channel(tmp_path: Path) -> None:
    with store(tmp_path) as valkey:
        async with two(valkey.url) as (there, here):
            await heard(there, here, A, B)
            valkey.signal(signal.SIGSTOP)
            picture = b"x" * 40_000
            for number in range(200):
                for channel in (A, B):
                    there.bus.newest(channel, b"\x01%03d" % number, picture)
            # The kernel and the connection's buffer take what they take; then it is one each.
            assert 0 < there.counts.lost < 400
            valkey.signal(signal.SIGCONT)
            await here.until(
                lambda: {(A, b"\x01199" + picture), (B, b"\x01199" + picture)} <= set(here.came)
            )


async def test_subscriptions_come_back_with_the_store(tmp_path: Path) -> None:
    with store(tmp_path) as valkey:
        async with two(valkey.url) as (there, here):
            await heard(there, here, A)
            valkey.kill()
            await lose_one(there, [A])
            valkey.start()
            here.came.clear()
            await heard(there, here, A)


async def test_channels_are_spread_over_several_stores(store_url: str, tmp_path: Path) -> None:
    channels = [b"frames:headset_%d" % number for number in range(20)]
    with store(tmp_path) as second:
        async with two(store_url, second.url) as (there, here):
            await heard(there, here, *channels)
            second.kill()
            await lose_one(there, channels)
            await heard(there, here, *(c for c in channels if zlib.crc32(c) % 2 == 0))
            here.came.clear()
            before = there.counts.lost
            for channel in channels:
                there.bus.newest(channel, b"\x01half")
            lost = there.counts.lost - before
            assert 0 < lost < len(channels)
            await here.until(lambda: len(here.came) == len(channels) - lost)


async def test_streams_hand_on_everything_once_and_in_order(store_url: str) -> None:
    valkey = Valkey(store_url, 2.0)
    reader, writer = Changes(valkey, "node-1", 2.0), Changes(valkey, "node-2", 2.0)
    await writer.announce({"k": "before"})
    await reader.begin()
    await writer.post([("node-1", {"k": "one"}), ("node-3", {"k": "not ours"})])
    await writer.announce({"k": "two"})
    # A sender whose connection broke does not know that this arrived, and a later version's.
    rows = await valkey.call(valkey.client.xrange("inbox:node-1"))
    await valkey.call(valkey.client.xadd("inbox:node-1", rows[0][1]))
    await valkey.call(valkey.client.xadd("inbox:node-1", {"m": '{"v": 99, "k": "later"}'}))
    await writer.post([("node-1", {"k": "three"})])
    kinds: list[str] = []
    async with asyncio.timeout(5):
        while len(kinds) < 3:
            kinds += [message["k"] for message in await reader.read()]
    assert sorted(kinds) == ["one", "three", "two"]
    assert kinds.index("one") < kinds.index("three")
    assert await reader.read() == []
    await valkey.close()


async def test_a_reader_knows_when_more_came_than_a_stream_keeps(store_url: str) -> None:
    valkey = Valkey(store_url, 5.0)
    reader, writer = Changes(valkey, "node-1", 5.0), Changes(valkey, "node-2", 5.0)
    await writer.announce({"k": "before"})
    await reader.begin()

    async def write(count: int) -> None:
        pipe = valkey.client.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd("fleet:changes", {"m": '{"v": 1, "k": "x"}'}, maxlen=20_000, approximate=True)
        await valkey.call(pipe.execute())

    async def read(count: int) -> None:
        async with asyncio.timeout(30):
            while count > 0:
                count -= len(await reader.read())

    # Behind, but everything is still there.
    await write(5_000)
    await read(5_000)
    assert not reader.missed
    for _ in range(6):
        await write(5_000)
    await read(20_000)
    assert reader.missed
    await valkey.close()


async def test_a_store_with_a_password_over_tcp(tmp_path: Path, free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    options = ("--requirepass", "open sesame", "--bind", "127.0.0.1", "--port", str(free_port))
    with store(tmp_path, *options, url=f"redis://:open%20sesame@{address}/0") as valkey:
        async with two(valkey.url) as (there, here):
            await heard(there, here, A)
        async with two(f"redis://:wrong@{address}") as (there, here):
            here.bus.subscribe(frozenset([A]))
            await lose_one(there, [A])
            assert here.came == []
