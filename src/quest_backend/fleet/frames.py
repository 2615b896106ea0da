"""Pacing of one headset's preview: when a frame is taken, and when the newest one goes out."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True)
class FramePacer:
    """Latest wins, arrival-driven. All times are monotonic seconds.

    A headset offers frames; one that comes within ``throttle_s`` of the last taken is dropped.
    The newest taken frame goes out at once when ``interval_s`` has passed since the last send,
    otherwise at that boundary, ``due_at``. A send may be early by ``SLACK_S``, so that frames of
    many headsets can leave together; the boundaries after it do not move.
    """

    SLACK_S: ClassVar[float] = 0.004

    throttle_s: float
    interval_s: float
    taken_at: float = float("-inf")
    due_at: float = float("-inf")
    gathered: int = 0

    def offer(self, now: float) -> bool:
        """Whether a frame that arrives ``now`` is taken."""
        # Frames of a steady 60 fps source jitter; a millisecond early is not too fast.
        if now - self.taken_at < self.throttle_s - 0.001:
            return False
        self.taken_at = now
        self.gathered += 1
        return True

    def sent(self, now: float) -> int:
        """Note a send; how many frames had gathered for it (all but the newest are dropped)."""
        on_time = abs(now - self.due_at) <= self.SLACK_S
        self.due_at = (self.due_at if on_time else now) + self.interval_s
        gathered, self.gathered = self.gathered, 0
        return gathered
