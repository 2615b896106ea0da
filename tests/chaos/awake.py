"""A clock that stands still while the machine does: what is starved of CPU is slow, not wrong."""

import asyncio
import time
from types import TracebackType
from typing import Self

_TICK_S = 0.1
# A tick that takes longer was waiting for a core; so was everything that is waited for.
_MOST_S = 0.2


def counted_s(passed_s: float) -> float:
    """What of a tick that took ``passed_s`` counts."""
    return min(passed_s, _MOST_S)


class AwakeClock:
    """Seconds in which this process, and so likely the others, had the CPU they wanted."""

    def __init__(self) -> None:
        self.awake_s = 0.0
        self.stood_still_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            counted = counted_s(now - last)
            self.awake_s += counted
            self.stood_still_s += now - last - counted
            last = now
