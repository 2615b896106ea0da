"""Ending background tasks."""

import asyncio
from collections.abc import Iterable

_ROUND_S = 0.5
_ROUNDS = 10


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel ``tasks`` and wait until they have ended, for 5 seconds at most.

    Cancelled again and again: libraries wait under ``asyncio.wait_for``, which on Python 3.11 can
    swallow a cancellation (bpo-42130), and a loop that lives on would never be waited out.
    """
    left = {task for task in tasks if not task.done()}
    for _ in range(_ROUNDS):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_ROUND_S)
