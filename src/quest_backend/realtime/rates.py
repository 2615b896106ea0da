"""Rate limits per socket and event: fixed windows that open with the first message."""

from quest_backend.protocol.limits import Rate


class RateWindows:
    """One socket's windows. ``multiplier`` scales every limit."""

    __slots__ = ("_multiplier", "_windows")

    def __init__(self, multiplier: float) -> None:
        self._multiplier = multiplier
        # When the window opened, and how many more it takes.
        self._windows: dict[str, list[float]] = {}

    def allow(self, event: str, rate: Rate, now: float) -> bool:
        """Whether one more ``event`` at ``now`` (monotonic seconds) is within its rate."""
        window = self._windows.get(event)
        if window is None or now - window[0] >= rate.window_s:
            self._windows[event] = [now, max(1, rate.count * self._multiplier) - 1]
            return True
        if window[1] <= 0:
            return False
        window[1] -= 1
        return True
