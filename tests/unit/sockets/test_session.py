"""The bounded way out and the heartbeat, on a clock that the tests turn."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_backend.sockets.packets import Outgoing
from quest_backend.sockets.session import HARD_BYTES, SOFT_BYTES, STUCK_S, TOO_SLOW, Batch, Session

INTERVAL_S, TIMEOUT_S = 5.0, 10.0


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Clock:
    """What a session needs of an event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(lambda: call(*args))
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.call is not None:
                timer.call()
        self.now = until


class Pipe:
    """A link to a client that reads ``read`` bytes when it is told to."""

    def __init__(self, *, needs_retry: bool = True) -> None:
        self.needs_retry = needs_retry
        self.sent: list[bytes] = []
        self.unread = 0
        self.stalled = False
        self.aborted = self.hung_up = False

    def write(self, packets: Sequence[Outgoing]) -> None:
        for packet in packets:
            self.sent.append(packet.text)
            if self.stalled:
                self.unread += packet.size

    def write_frames(self, frames: bytes) -> bool:
        self.sent.append(frames)
        return True

    def offer(self, packet: Outgoing) -> bool:
        if self.busy():
            return False
        self.write((packet,))
        return True

    def backlog_bytes(self) -> int:
        return self.unread

    def busy(self) -> bool:
        return self.stalled

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.hung_up = True

    def abort(self) -> None:
        self.aborted = True


class Heard:
    """The application: why sessions ended."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def opened(self, session: Session, query: str) -> None: ...

    def received(self, session: Session, packet: bytes) -> None: ...

    def received_binary(self, session: Session, data: bytes) -> None: ...

    def malformed(self, session: Session, problem: str) -> None: ...

    def closed(self, session: Session, reason: str) -> None:
        self.reasons.append(reason)


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.pipe = Pipe()
        self.heard = Heard()
        self.session = Session(
            self.heard,
            self.pipe,
            cast(asyncio.AbstractEventLoop, self.clock),
            interval_s=INTERVAL_S,
            timeout_s=TIMEOUT_S,
        )

    def send(self, text: str, key: object = None) -> bool:
        return self.session.send(Outgoing(text.encode()), key)

    def pong(self) -> None:
        self.session.received(b"3", text=True)

    @property
    def sent(self) -> list[str]:
        """Without pings."""
        return [text.decode() for text in self.pipe.sent if text != b"2"]

    def recover(self) -> None:
        self.pipe.stalled, self.pipe.unread = False, 0
        self.clock.advance(0.05)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestOut:
    def test_a_client_that_keeps_up_gets_all_at_once(self, bench: Bench) -> None:
        for number in range(5):
            assert not bench.send(f"m{number}", "key" if number % 2 else None)
        assert bench.sent == ["m0", "m1", "m2", "m3", "m4"]

    def test_behind_only_the_newest_of_a_key_is_kept(self, bench: Bench) -> None:
        bench.pipe.stalled = True
        assert [bench.send(f"a{n}", "a") for n in range(4)] == [False, True, True, True]
        assert not bench.send("b0", "b")
        bench.clock.advance(1)
        assert bench.sent == []
        bench.recover()
        assert bench.sent == ["a3", "b0"]

    def test_no_reliable_message_is_lost_or_overtaken(self, bench: Bench) -> None:
        bench.pipe.stalled, bench.pipe.unread = True, SOFT_BYTES + 1
        bench.send("device 1", "device")
        bench.send("snapshot")
        bench.send("device 2", "device")
        bench.send("bye")
        bench.send("device 3", "device")
        bench.recover()
        assert bench.sent == ["snapshot", "bye", "device 3"]

    def test_reliable_messages_go_past_the_kernel_up_to_a_bound(self, bench: Bench) -> None:
        bench.pipe.stalled = True
        bench.send("x" * SOFT_BYTES)
        bench.send("y")
        assert len(bench.sent) == 2
        bench.send("z")
        assert len(bench.sent) == 2
        bench.recover()
        assert bench.sent[-1] == "z"

    def test_everybody_who_waits_gets_a_turn(self, bench: Bench) -> None:
        """Ten headsets in step, a viewer that has room for two frames in three rounds."""
        shown = dict.fromkeys(range(10), 0)
        for number in range(300):
            bench.pipe.stalled = True
            for headset in range(10):
                bench.send(f"{headset} {number} " + "x" * 40_000, headset)
            if number % 3 == 0:
                bench.pipe.stalled = False
                bench.session.flush()
        for text in bench.sent:
            shown[int(text.split()[0])] += 1
        assert sum(shown.values()) == 200
        assert set(shown.values()) == {20}, shown

    def test_a_batch_to_one_who_keeps_up_is_one_write(self, bench: Bench) -> None:
        batch = Batch([("a", Outgoing(b"a1")), ("b", Outgoing(b"b1"))])
        bench.session.send_batch(batch)
        assert bench.pipe.sent == [batch.frames]

    def test_a_batch_to_one_who_is_behind_joins_what_waits(self, bench: Bench) -> None:
        bench.pipe.stalled = True
        bench.send("a0", "a")
        bench.session.send_batch(Batch([("a", Outgoing(b"a1")), ("b", Outgoing(b"b1"))]))
        bench.recover()
        assert bench.sent == ["a1", "b1"]

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(["stall", "recover", "reliable"]), st.sampled_from(["a", "b", "c"])
            ),
            max_size=60,
        )
    )
    def test_any_history(self, steps: list[str]) -> None:
        """All reliable ones in order, of each key the newest last, never behind what overtook it."""
        bench = Bench()
        said: list[tuple[str, int]] = []
        for number, step in enumerate(steps):
            if step == "stall":
                bench.pipe.stalled, bench.pipe.unread = True, SOFT_BYTES + 1
            elif step == "recover":
                bench.recover()
            else:
                said.append((step, number))
                bench.send(f"{step} {number}", None if step == "reliable" else step)
        bench.recover()
        got = [(text.split()[0], int(text.split()[1])) for text in bench.sent]
        assert [one for one in got if one[0] == "reliable"] == [
            one for one in said if one[0] == "reliable"
        ]
        for key in "abc":
            mine = [number for name, number in got if name == key]
            assert mine == sorted(mine)
            assert mine[-1:] == [number for name, number in said if name == key][-1:]
        # Between a reliable message and an older one nothing newer slips in.
        for index, (name, number) in enumerate(got):
            if name == "reliable":
                assert all(other < number for _, other in got[:index])

    def test_nothing_is_sent_after_the_end(self, bench: Bench) -> None:
        bench.session.close("over")
        assert not bench.send("x")
        bench.session.send_batch(Batch([("a", Outgoing(b"a1"))]))
        bench.clock.advance(100)
        assert bench.pipe.sent == []


class TestTooSlow:
    def test_by_bytes_of_reliable_messages(self, bench: Bench) -> None:
        bench.pipe.stalled = True
        sent = 0
        while not bench.session.closed:
            bench.send("x" * 50_000)
            sent += 50_000
            assert sent < 2 * HARD_BYTES
        assert sent > HARD_BYTES
        assert bench.heard.reasons == [TOO_SLOW]
        assert bench.pipe.aborted

    def test_droppable_messages_never_cut_off_by_bytes(self, bench: Bench) -> None:
        bench.pipe.stalled = True
        for number in range(1000):
            bench.send("x" * 100_000, number % 10)
        assert not bench.session.closed

    def test_one_large_answer_is_no_reason(self, bench: Bench) -> None:
        """A snapshot of a large fleet is on its way when the next update comes."""
        bench.pipe.stalled = True
        bench.send("update", "device")
        bench.send("x" * (HARD_BYTES + 1))
        bench.send("update", "device")
        assert not bench.session.closed
        bench.recover()
        bench.pipe.stalled, bench.pipe.unread = True, HARD_BYTES + 1  # now it is in the transport
        bench.send("update", "device")
        bench.send("answer")
        assert not bench.session.closed

    def test_by_time(self, bench: Bench) -> None:
        """It answers every ping and reads nothing."""
        bench.pipe.stalled = True
        bench.send("x", "key")
        for _ in range(int(STUCK_S) - 1):
            bench.clock.advance(1)
            bench.pong()
        assert not bench.session.closed
        for _ in range(int(INTERVAL_S) + 2):
            bench.clock.advance(1)
            bench.pong()
        assert bench.heard.reasons == [TOO_SLOW]

    def test_by_time_over_a_link_that_asks_for_more_itself(self) -> None:
        bench = Bench()
        bench.pipe.needs_retry = False
        bench.pipe.stalled = True
        bench.send("x", "key")
        for _ in range(int(STUCK_S + INTERVAL_S) + 1):
            bench.clock.advance(1)
            bench.pong()
        assert bench.heard.reasons == [TOO_SLOW]

    def test_one_that_reads_now_and_then_stays(self, bench: Bench) -> None:
        for _ in range(10):
            bench.pipe.stalled = True
            bench.send("x", "key")
            for _ in range(int(STUCK_S) - 2):
                bench.clock.advance(1)
                bench.pong()
            bench.recover()
        assert not bench.session.closed
        assert bench.sent == ["x"] * 10


class TestHeartbeat:
    def test_a_client_that_answers_stays(self, bench: Bench) -> None:
        for _ in range(20):
            bench.clock.advance(INTERVAL_S)
            bench.pong()
        assert bench.pipe.sent == [b"2"] * 20

    def test_a_silent_client_is_gone(self, bench: Bench) -> None:
        bench.clock.advance(INTERVAL_S + TIMEOUT_S - 0.1)
        assert not bench.session.closed
        bench.clock.advance(0.2)
        assert bench.heard.reasons == ["ping timeout"]

    def test_one_that_sends_but_whose_pong_is_late_stays(self, bench: Bench) -> None:
        for _ in range(30):
            bench.clock.advance(1)
            bench.session.received(b'42["x"]', text=True)
        assert not bench.session.closed

    def test_pongs_that_nobody_asked_for_do_not_put_the_ping_off(self, bench: Bench) -> None:
        for _ in range(12):
            bench.clock.advance(1)
            bench.pong()
        assert bench.pipe.sent == [b"2"] * 2
