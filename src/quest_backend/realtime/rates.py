"""Rate limits per socket and event: fixed windows that open with the first message."""

from quest_backend.protocol.limits import Rate


class RateWindows:
    """One socket's windows. ``multiplier`` scales every limit."""

    __slots__ = ("_multiplier", "_windows")

    def __init__(self, multiplier: float) -> None:
        self._multiplier = multiplier
        self._windows: dict[str, tuple[float, int]] = {}

    def allow(self, event: str, rate: Rate, now: float) -> bool:
        """Whether one more ``event`` at ``now`` (monotonic seconds) is within its rate."""
        opened, count = self._windows.get(event, (now, 0))
        if now - opened >= rate.window_s:
            opened, count = now, 0
        if count >= max(1, rate.count * self._multiplier):
            return False
        self._windows[event] = (opened, count + 1)
        return True
