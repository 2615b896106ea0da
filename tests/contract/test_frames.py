"""The preview over the real wire: what is passed on, at what pace, to whom, and what is counted."""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import pytest
from hostile_frames import HAND_WRITTEN, mutations, verdict
from support import Server
from wire import Poller, Wire, metrics, wire_headset, wire_viewer

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

# `FRAME_PACKETS=1000000 pytest -k frame` for a long run.
FRAME_PACKETS = int(os.environ.get("FRAME_PACKETS", "20000"))
# uvicorn's own WebSocket fails a connection for text that is not UTF-8, as RFC 6455, 8.1 asks;
# picows leaves it to the decoder, whose answer is an error.
PICOWS = os.environ.get("WEBSOCKET_PROTOCOL", "picows").startswith("picows")


def is_text(packet: bytes) -> bool:
    try:
        packet.decode()
    except UnicodeDecodeError:
        return False
    return True


async def shown(quest: Wire, viewer: Wire, packet: bytes) -> bool:
    """Whether viewers get the packet; it is asserted that they get, or the headset, what is right."""
    frame, code = verdict(packet)
    await quest.text(packet)
    if frame is not None:
        assert await viewer.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == [frame], packet[:200]
        return True
    (error,) = await quest.gets(catalogue.ERROR)
    assert error["code"] == code, packet[:200]
    return False


@pytest.mark.timeout(120 + FRAME_PACKETS / 500)
async def test_viewers_get_what_a_json_decoder_says_or_nothing(unpaced: Server) -> None:
    async with wire_headset(unpaced) as quest, wire_viewer(unpaced, quest.identity) as viewer:
        results = [
            await shown(quest, viewer, packet)
            for source in (HAND_WRITTEN, mutations(12, FRAME_PACKETS))
            for packet in source
            if PICOWS or is_text(packet)
        ]
        # Nothing more than that came, and both are still there.
        assert await quest.errors() == []
        left = await viewer.settled()
        assert not [text for text in left if b"frame" in text]
    assert results.count(True) > 0.2 * len(results)
    assert results.count(False) > 0.2 * len(results)


@dataclass
class Counts:
    """The frame metrics. ``taken`` were not throttled; ``sends`` went out, each to all viewers."""

    dropped: float
    sends: float
    taken: float
    came: float
    shown: float

    @classmethod
    async def of(cls, server: Server) -> Self:
        found = await metrics(server)
        return cls(
            found["turing_frames_dropped_total"],
            found["turing_frame_batch_size_count"],
            found["turing_frame_batch_size_sum"],
            found.get("turing_socket_messages_total{in,headset-frame}", 0),
            found.get("turing_socket_messages_total{out,on-headset-frame-updated}", 0),
        )

    def since(self, before: "Counts") -> "Counts":
        return Counts(
            self.dropped - before.dropped,
            self.sends - before.sends,
            self.taken - before.taken,
            self.came - before.came,
            self.shown - before.shown,
        )


def numbered(number: int) -> bytes:
    return b'42["headset-frame","%d"]' % number


async def numbers(viewer: Wire, last: int) -> tuple[list[int], list[float]]:
    """The numbered frames that a viewer gets up to ``last``, and when."""
    got: list[int] = []
    at: list[float] = []
    while not got or got[-1] != last:
        (frame,) = await viewer.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
        got.append(int(frame))
        at.append(time.monotonic())
    return got, at


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that sends a headset's frames twice a second."""
    server = Server(tmp_path_factory.mktemp("rare"), FRAME_THROTTLE_MS="0",
                    FRAME_BATCH_INTERVAL_MS="500").start()  # fmt: skip
    yield server
    server.stop()


class TestPace:
    async def test_the_newest_wins(self, rare: Server) -> None:
        async with wire_headset(rare) as quest, wire_viewer(rare, quest.identity) as viewer:
            before = await Counts.of(rare)
            started = time.monotonic()
            for number in range(20):
                await quest.text(numbered(number))
                await asyncio.sleep(0.005)  # a camera at 200 fps
            got, at = await numbers(viewer, 19)
            counts = (await Counts.of(rare)).since(before)
        assert got == [0, 19]
        assert at[0] - started < 0.2
        assert 0.45 < at[1] - started < 0.9
        assert counts == Counts(dropped=18, sends=2, taken=20, came=20, shown=2)

    async def test_a_frame_too_soon_after_another_is_throttled(self, server: Server) -> None:
        async with wire_headset(server) as quest, wire_viewer(server, quest.identity) as viewer:
            before = await Counts.of(server)
            await quest.text(*[numbered(number) for number in range(50)])
            await asyncio.sleep(0.06)  # so that the last one is neither throttled nor replaced
            await quest.text(numbered(50))
            got, _ = await numbers(viewer, 50)
            counts = (await Counts.of(server)).since(before)
        assert got[0] == 0
        # All fifty came within a millisecond; even a machine that stumbles takes few of them.
        assert counts.taken <= 5
        assert counts.sends == counts.shown == len(got)
        assert counts.dropped == 51 - len(got)

    async def test_a_viewer_gets_at_most_one_frame_per_33_ms(self, server: Server) -> None:
        async with wire_headset(server) as quest, wire_viewer(server, quest.identity) as viewer:
            before = await Counts.of(server)
            reading = asyncio.create_task(numbers(viewer, 1000))
            for number in range(100):
                await quest.text(numbered(number))
                await asyncio.sleep(0.009)
            await asyncio.sleep(0.06)
            await quest.text(numbered(1000))
            got, at = await reading
            counts = (await Counts.of(server)).since(before)
        assert all(a < b for a, b in pairwise(got))
        # Arrivals jitter, so not each gap by itself; uvloop's timers count whole milliseconds.
        assert all(at[-1] - then >= 0.032 * (len(at) - 1 - i) - 0.03 for i, then in enumerate(at))
        assert len(got) > 10
        replaced = counts.taken - counts.sends
        throttled = counts.dropped - replaced
        assert counts.sends == counts.shown == len(got)
        assert counts.dropped == 101 - len(got)
        assert replaced > 0
        assert throttled > 0
        assert counts.came == 101

    async def test_a_frame_after_a_pause_arrives_at_once(self, server: Server) -> None:
        """Driven by arrival: a tick of 33 ms would cost 16 ms in the median."""
        async with wire_headset(server) as quest, wire_viewer(server, quest.identity) as viewer:
            waits = []
            for number in range(30):
                await asyncio.sleep(0.037 + number * 0.0007)  # no multiple of any tick
                sent = time.monotonic()
                await quest.text(numbered(number))
                await numbers(viewer, number)
                waits.append(time.monotonic() - sent)
        assert statistics.median(waits) < 0.008, waits


class TestWho:
    async def test_all_who_watch_and_nobody_else(self, server: Server) -> None:
        async with (
            wire_headset(server) as quest,
            wire_headset(server) as other,
            wire_viewer(server, quest.identity) as holder,
            wire_viewer(server, other.identity) as stranger,
            Wire(server, DeviceType.TABLET) as second,
            Wire(server, DeviceType.TABLET) as third,
            Wire(server, DeviceType.DASHBOARD) as desk,
        ):
            for tablet in (second, third):
                await tablet.send(catalogue.TABLET_CONNECT_HEADSET, quest.identity)
                await tablet.gets(catalogue.ON_HEADSET_CONNECTED)
            before = await Counts.of(server)
            await quest.text(numbered(1))
            for tablet in (holder, second, third):
                assert await numbers(tablet, 1)
            for one in (quest, other, stranger, desk):
                assert not [text for text in await one.settled() if b"frame" in text]
            counts = (await Counts.of(server)).since(before)
            assert counts == Counts(dropped=0, sends=1, taken=1, came=1, shown=3)

            await third.send(catalogue.TABLET_DISCONNECT_HEADSET, quest.identity)
            await third.gets(catalogue.ON_HEADSET_DISCONNECTED)
            await asyncio.sleep(0.04)
            await quest.text(numbered(2))
            for tablet in (holder, second):
                assert await numbers(tablet, 2)
            assert not [text for text in await third.settled() if b"frame" in text]

    async def test_a_headset_that_nobody_watches_is_only_read(self, server: Server) -> None:
        async with wire_headset(server) as quest:
            before = await Counts.of(server)
            for number in range(5):
                await quest.text(numbered(number))
                await quest.settled()
                await asyncio.sleep(0.02)
            assert (await Counts.of(server)).since(before) == Counts(0, 0, 0, came=5, shown=0)
            async with wire_viewer(server, quest.identity) as viewer:
                await quest.text(numbered(5))
                assert (await numbers(viewer, 5))[0] == [5]

    async def test_a_frame_that_waits_is_not_sent_when_the_last_viewer_left(
        self, server: Server
    ) -> None:
        async with wire_headset(server) as quest, wire_viewer(server, quest.identity) as viewer:
            for number in (1, 2):
                await quest.text(numbered(number))
                await asyncio.sleep(0.018)
            await viewer.send(catalogue.TABLET_UNLOCK_DEVICE, quest.identity)
            await viewer.gets(catalogue.ON_DEVICE_UNLOCKED)
            await quest.text(numbered(3))
            await quest.settled()
            assert not [text for text in await viewer.settled() if b"frame" in text]


class TestPolling:
    async def test_only_the_newest_at_the_pace_of_the_polls(self, server: Server) -> None:
        async with (
            wire_headset(server) as quest,
            wire_viewer(server, quest.identity) as witness,
            Poller(server) as viewer,
        ):
            await viewer.send(catalogue.TABLET_CONNECT_HEADSET, quest.identity)
            await viewer.until('42["on-headset-connected"')
            before = await Counts.of(server)
            for number in range(10):
                await quest.text(numbered(number))
                await numbers(witness, number)
                await asyncio.sleep(0.035)
            frames = [text for text in await viewer.poll() if "frame" in text]
            assert frames == ['42["on-headset-frame-updated","9"]']
            counts = (await Counts.of(server)).since(before)
            assert counts == Counts(dropped=9, sends=10, taken=10, came=10, shown=11)

            polled = asyncio.create_task(viewer.poll())
            while not polled.done():
                await quest.text(numbered(10))
                await asyncio.wait([polled], timeout=0.05)
            assert '42["on-headset-frame-updated","10"]' in polled.result()
