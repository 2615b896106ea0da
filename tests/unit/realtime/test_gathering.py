"""When a server pauses to find several messages at once, and when it must not."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from quest_backend.realtime.gathering import (
    BUSY,
    LIGHT,
    LOOK_S,
    MORE_OFTEN,
    STREAM_PER_S,
    Gathering,
)

INTERVAL_S = 0.004


class Loop:
    """An event loop's turns, one by one, on a clock that stands until it is told."""

    def __init__(self, interval_s: float, has_other_work: Callable[[], bool]) -> None:
        self.now = 1000.0
        # Of its time, how much it works; and how much that was so far.
        self.share = LIGHT / 2
        self.worked = 0.0
        self.pauses: list[float] = []
        self._soon: list[Callable[[], None]] = []
        self.gathering = Gathering(
            interval_s, has_other_work,
            clock=lambda: self.now, work_clock=lambda: self.worked, pause=self._pause,
        )  # fmt: skip

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        self.worked += self.share * seconds

    def turn(self, messages: int, after_s: float) -> None:
        """``messages`` come ``after_s`` later; then what they called for runs."""
        self._pass(after_s)
        for _ in range(messages):
            if not self.gathering.armed:
                self.gathering.arm(cast(asyncio.AbstractEventLoop, self))
        soon, self._soon = self._soon, []
        assert len(soon) <= 1, "one turn is looked at once"
        for call in soon:
            call()

    def stream(self, per_s: float, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.turn(1, 1 / per_s)


def loop(interval_s: float = INTERVAL_S, other_work: bool = False) -> Loop:
    return Loop(interval_s, lambda: other_work)


def streaming(share: float) -> Loop:
    """In a stream, and seen by the loop to work for ``share`` of its time from then on."""
    busy = loop()
    busy.stream(1000, 2 * LOOK_S)
    busy.share = share
    busy.stream(1000, 2 * LOOK_S)
    busy.pauses.clear()
    return busy


def test_a_stream_is_read_at_multiples_of_the_interval() -> None:
    busy = loop()
    busy.stream(1000, 2 * LOOK_S)
    busy.pauses.clear()
    for _ in range(10):
        busy.turn(3, 0.0005)
        assert busy.now % INTERVAL_S == pytest.approx(0, abs=1e-6) or (
            INTERVAL_S - busy.now % INTERVAL_S == pytest.approx(0, abs=1e-6)
        )
    assert len(busy.pauses) == 10
    assert max(busy.pauses) <= INTERVAL_S


def goes_back(busy: Loop) -> None:
    """When there is less to do, it pauses as long as before."""
    busy.share = LIGHT / 2
    busy.stream(1000, 3 * LOOK_S)
    assert max(busy.pauses) > INTERVAL_S / MORE_OFTEN


def test_a_loop_with_more_to_do_looks_more_often() -> None:
    busy = streaming((LIGHT + BUSY) / 2)
    busy.stream(1000, 2 * LOOK_S)
    assert 0 < max(busy.pauses) <= INTERVAL_S / MORE_OFTEN
    goes_back(busy)


def test_a_loop_with_much_to_do_does_not_pause() -> None:
    busy = streaming(BUSY + 0.1)
    busy.stream(1000, 10 * LOOK_S)
    assert busy.pauses == []
    goes_back(busy)


def test_pausing_does_not_end_the_stream_that_it_is_for() -> None:
    busy = loop()
    busy.stream(1000, 2 * LOOK_S)
    busy.pauses.clear()
    for _ in range(int(1 / INTERVAL_S)):
        busy.turn(4, 0.0001)
    assert len(busy.pauses) == int(1 / INTERVAL_S)


@pytest.mark.parametrize("per_s", [0.1, 5, STREAM_PER_S * 0.9])
def test_now_and_then_a_message_is_answered_at_once(per_s: float) -> None:
    quiet = loop()
    quiet.stream(per_s, 60)
    assert quiet.pauses == []


def test_the_first_messages_after_a_quiet_time_are_answered_at_once() -> None:
    quiet = loop()
    quiet.turn(1, 60)
    for _ in range(10):
        quiet.turn(5, 0.001)
    assert quiet.pauses == []


def test_a_stream_that_ends_is_over_with_the_next_look() -> None:
    busy = loop()
    busy.stream(1000, 2 * LOOK_S)
    busy.turn(1, 5)
    busy.pauses.clear()
    busy.stream(10, 2)
    assert busy.pauses == []


def test_uploads_are_not_kept_waiting() -> None:
    busy = loop(other_work=True)
    busy.stream(1000, 1)
    assert busy.pauses == []


def test_without_an_interval_nothing_is_ever_called() -> None:
    off = loop(interval_s=0)
    off.stream(1000, 1)
    assert off.pauses == []


async def _messages_of_a_real_loop(gathering: Gathering, messages: int) -> int:
    """How many turns of a real event loop brought ``messages``, one every half millisecond."""
    running = asyncio.get_running_loop()
    turns = 0
    for _ in range(messages):
        if not gathering.armed:
            turns += 1
            gathering.arm(running)
        await asyncio.sleep(0.0005)
    return turns


@pytest.mark.asyncio
async def test_on_a_real_loop_callbacks_go_on_during_a_stream() -> None:
    gathering = Gathering(INTERVAL_S)
    ticks: list[Any] = []

    async def tick() -> None:
        while True:
            ticks.append(None)
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    assert await _messages_of_a_real_loop(gathering, 500) > 0
    ticking.cancel()
    assert len(ticks) > 10
