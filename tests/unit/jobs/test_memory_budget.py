"""Memory is given out within its bound, in the order in which it was asked for."""

import asyncio
import contextlib

import pytest

from quest_backend.jobs.memory import MemoryBudget

pytestmark = pytest.mark.asyncio


class Takers:
    """Tasks that hold what they were given until they are let go."""

    def __init__(self, total: int) -> None:
        self.budget = MemoryBudget(total)
        self.has: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, wanted: int) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, wanted))
        await self.settled()

    async def _hold(self, name: str, wanted: int) -> None:
        async with self.budget.take(wanted):
            self.has.append(name)
            await self._ends[name].wait()
        self.has.remove(name)

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.settled()

    async def settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_no_more_is_given_than_there_is() -> None:
    takers = Takers(10)
    await takers.ask("a", 6)
    await takers.ask("b", 4)
    await takers.ask("c", 1)
    assert takers.has == ["a", "b"]
    await takers.end("b")
    assert takers.has == ["a", "c"]


async def test_a_large_one_is_not_passed_by_small_ones() -> None:
    takers = Takers(10)
    await takers.ask("small", 4)
    await takers.ask("large", 10)
    await takers.ask("late", 1)
    assert takers.has == ["small"]
    await takers.end("small")
    assert takers.has == ["large"]
    await takers.end("large")
    assert takers.has == ["late"]


async def test_more_than_there_is_gets_all_of_it() -> None:
    takers = Takers(10)
    await takers.ask("huge", 1000)
    await takers.ask("next", 1)
    assert takers.has == ["huge"]
    await takers.end("huge")
    assert takers.has == ["next"]


async def test_who_gives_up_waiting_or_fails_takes_nothing_with_it() -> None:
    takers = Takers(10)
    await takers.ask("a", 8)
    await takers.ask("gives up", 8)
    await takers.ask("b", 2)
    takers.tasks["gives up"].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await takers.tasks["gives up"]
    await takers.settled()
    assert takers.has == ["a", "b"]
    takers.tasks["a"].cancel()
    await takers.settled()
    await takers.ask("c", 8)
    assert takers.has[-1] == "c"
