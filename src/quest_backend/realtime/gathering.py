"""Reading gathered: a busy server looks at its sockets every few milliseconds, not at each message.

As network cards moderate interrupts. Waking up for every frame costs more than the frame: caches
are cold, and the processor has gone to sleep in between. While frames or telemetry come in a steady
stream, the event loop pauses after each turn until the next multiple of ``interval_s``, and then
finds several of them at once. What it measured: docs/decisions/0012-gathering.md.
"""

import asyncio
import time
from collections.abc import Callable

# This many turns of the loop a second that bring some make a stream, looked at this often.
STREAM_PER_S = 150
LOOK_S = 0.1
# A loop that works for more than the first share of its time looks so much more often: with that
# much to do each turn finds several all the same. Beyond the second share it does not pause any
# more: waiting would only make frames late.
LIGHT, BUSY = 0.25, 0.45
MORE_OFTEN = 2.5
# Shorter pauses cost more than they save.
_LEAST_S = 0.0002


class Gathering:
    """One event loop's. ``interval_s`` 0 turns it off; nothing pauses while ``has_other_work``."""

    __slots__ = (
        "_clock", "_every_s", "_has_other_work", "_interval_s", "_looked_at", "_pause",
        "_pauses", "_turns", "_work_clock", "_worked_s", "armed",
    )  # fmt: skip

    def __init__(
        self,
        interval_s: float = 0.0,
        has_other_work: Callable[[], bool] = lambda: False,
        *,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``clock`` gives monotonic seconds, ``work_clock`` those that the thread has worked.

        ``pause`` stops the thread for seconds.
        """
        self._interval_s = self._every_s = interval_s
        self._has_other_work = has_other_work
        self._clock = clock
        self._work_clock = work_clock
        self._pause = pause
        self._pauses = False
        self._looked_at = 0.0
        self._turns = 0
        self._worked_s = 0.0
        # Looked at for each of them: whether it is known that this turn of the loop brings some.
        self.armed = interval_s <= 0

    def arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """A frame or telemetry came, the first in this turn of the event loop."""
        self.armed = True
        loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.armed = False
        now = self._clock()
        self._turns += 1
        if now - self._looked_at >= LOOK_S:
            self._look(now, now - self._looked_at)
        if not self._pauses:
            return
        left = self._every_s - now % self._every_s
        if left > _LEAST_S and not self._has_other_work():
            # The whole loop, on purpose: what it would wake up for is what is gathered.
            self._pause(left)

    def _look(self, now: float, since_s: float) -> None:
        worked_s = self._work_clock()
        share = (worked_s - self._worked_s) / since_s
        self._pauses = self._turns >= STREAM_PER_S * since_s and share <= BUSY
        self._every_s = self._interval_s if share <= LIGHT else self._interval_s / MORE_OFTEN
        self._looked_at, self._turns, self._worked_s = now, 0, worked_s
