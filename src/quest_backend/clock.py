"""Time, passed in so that tests need not sleep."""

import time
from datetime import UTC, datetime


class Clock:
    """The real clock."""

    # What ``iso`` said last, and of when.
    _iso_ms, _iso = -1, ""

    # Seconds that only grow. The function itself: it is called for every frame.
    monotonic = staticmethod(time.monotonic)

    # Seconds since 1970.
    unix_s = staticmethod(time.time)

    def unix_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(time.time() * 1000)

    def iso(self) -> str:
        """Now, as the wire writes it: ``2026-02-06T14:30:52.123Z``."""
        # Telemetry comes in bursts, and each asks.
        unix_ms = self.unix_ms()
        if unix_ms != self._iso_ms:
            self._iso_ms, self._iso = unix_ms, self.iso_of(unix_ms)
        return self._iso

    @staticmethod
    def iso_of(unix_ms: int) -> str:
        """A time in milliseconds since 1970, as the wire writes it."""
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
