"""How much memory recordings may take that are read at the same time, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# The largest recording fits alone; with it, a worker stays under 512 MB.
BUDGET_BYTES = 256 * 1024 * 1024


class MemoryBudget:
    """So many bytes for all; who wants more than is left waits, first come, first served."""

    def __init__(self, total_bytes: int = BUDGET_BYTES) -> None:
        self._total = self._left = total_bytes
        # Who waits holds it: else small ones would pass a large one for ever.
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def take(self, wanted_bytes: int) -> AsyncIterator[None]:
        """Have them until the block ends; all there are for more than there are."""
        wanted = min(wanted_bytes, self._total)
        async with self._turn:
            while self._left < wanted:
                self._given_back.clear()
                await self._given_back.wait()
            self._left -= wanted
        try:
            yield
        finally:
            self._left += wanted
            self._given_back.set()
