"""Pacing of one headset's preview: when a frame is taken, and when the newest one goes out."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True)
class FramePacer:
    """Latest wins, arrival-driven. All times are monotonic seconds.

    A headset offers frames; one that comes within ``throttle_s`` of the last taken is dropped. Of a
    steady stream one may come sooner by ``early_s``, as much as those before it came later.
    The newest taken frame goes out at once when ``interval_s`` has passed since the last send,
    otherwise at that boundary, ``due_at``. A send may be early by ``SLACK_S``, so that frames of
    many headsets can leave together; the boundaries after it do not move.
    """

    SLACK_S: ClassVar[float] = 0.004
    # Frames of a steady 60 fps source jitter; a millisecond early is not too fast.
    _JITTER_S: ClassVar[float] = 0.001

    throttle_s: float
    interval_s: float
    taken_at: float = float("-inf")
    due_at: float = float("-inf")
    early_s: float = 0.0
    gathered: int = 0

    def offer(self, now: float) -> bool:
        """Whether a frame that arrives ``now`` is taken."""
        gap = now - self.taken_at
        spare = gap - self.throttle_s + self.early_s
        if spare < -self._JITTER_S:
            return False
        # A busy server reads one frame late and the next in time. Dropping that one would show a
        # picture that is a whole frame older.
        is_steady = gap < 2 * self.throttle_s
        self.early_s = min(max(spare, 0.0), self.throttle_s / 2) if is_steady else 0.0
        self.taken_at = now
        self.gathered += 1
        return True

    def sent(self, now: float) -> int:
        """Note a send; how many frames had gathered for it (all but the newest are dropped)."""
        on_time = abs(now - self.due_at) <= self.SLACK_S
        self.due_at = (self.due_at if on_time else now) + self.interval_s
        gathered, self.gathered = self.gathered, 0
        return gathered
