"""A run: fault after fault, and after each one everything must come true again in time."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import redis.asyncio as redis

from chaos.awake import AwakeClock
from chaos.faults import Fault, come_back, plan, strike
from chaos.invariants import Finding, Invariant, Verdict, judge
from chaos.observe import observe
from chaos.sabotage import SABOTAGE
from chaos.world import World

# Uploads and scores of the last recordings, on a busy machine.
_LAST_S = 120.0
_POLL_S = 1.0
_OBSERVE_S = 60.0
# So many times the given time at most, on a machine that loses connections of itself.
_RESTLESS = 2


@dataclass(slots=True)
class Report:
    """What was done, checked and found."""

    seed: int
    faults: Counter[Fault] = field(default_factory=Counter)
    checked: Counter[Invariant] = field(default_factory=Counter)
    slowest_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    broke_at: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was as promised, and something was looked at."""
        return not self.findings and bool(self.checked)


async def converge(world: World, within_s: float, *, final: bool = False) -> tuple[Verdict, float]:
    """The verdict once nothing is wrong, or when time is over; and the seconds it took.

    A connection that is lost meanwhile, of itself, is one more fault: time begins anew, though not
    for ever.
    """
    began = time.monotonic()
    async with AwakeClock() as clock:
        lost, since_s = world.reconnects(), 0.0
        while True:
            await asyncio.gather(*(operator.settle() for operator in world.operators))
            if world.reconnects() != lost and clock.awake_s < _RESTLESS * within_s:
                lost, since_s = world.reconnects(), clock.awake_s
            verdict = await _looked(world, final=final)
            over = clock.awake_s - since_s > within_s
            if verdict is not None and (over or not verdict.findings):
                return verdict, time.monotonic() - began
            if verdict is None and clock.awake_s - since_s > _RESTLESS * within_s:
                raise RuntimeError("Valkey does not answer the checker")
            await asyncio.sleep(_POLL_S)


async def _looked(world: World, *, final: bool) -> Verdict | None:
    """What is wrong now; None when Valkey does not answer."""
    try:
        async with asyncio.timeout(_OBSERVE_S):
            return judge(await observe(world, final=final))
    except (redis.ConnectionError, redis.TimeoutError, TimeoutError):
        return None


async def suffer(world: World, fault: Fault, chance: random.Random) -> str:
    """A fault, while operators go on working; what was done."""
    enough = asyncio.Event()
    work = [
        asyncio.create_task(operator.work(enough, random.Random(chance.random())))
        for operator in world.operators
    ]
    try:
        await asyncio.sleep(chance.uniform(1, 2))
        return await strike(fault, world, chance)
    finally:
        enough.set()
        await asyncio.gather(*work)


async def close_shop(world: World) -> tuple[Verdict, float]:
    """All sessions are ended, all recordings uploaded and scored; the last verdict."""
    await asyncio.gather(*(operator.end_all() for operator in world.operators))
    return await converge(world, _LAST_S, final=True)


async def run(world: World, seed: int, seconds: float, say: Callable[[str], None]) -> Report:
    """Faults until ``seconds`` are over, or something stays broken."""
    report = Report(seed)
    began = time.monotonic()
    for number, fault in enumerate(plan(seed), start=1):
        chance = random.Random(f"{seed}/{number}")
        what = await suffer(world, fault, chance)
        verdict, took = await converge(world, world.size.grace_s)
        report.faults[fault] += 1
        _note(report, verdict, took, what)
        at = time.monotonic() - began
        say(f"{at:5.0f} s  {number:2}  {what}: {_outcome(verdict, took)}")
        come_back(world)
        if verdict.findings or time.monotonic() - began > seconds:
            break
    if not report.findings:
        verdict, took = await close_shop(world)
        say(f"{time.monotonic() - began:5.0f} s      all sessions ended: {_outcome(verdict, took)}")
        _note(report, verdict, 0.0, "the end of all sessions")
    return report


async def run_broken(
    world: World, seed: int, invariant: Invariant, say: Callable[[str], None]
) -> Report:
    """An ordinary fault, then the end; then ``invariant`` is broken on purpose, and must be seen."""
    report = await run(world, seed, 0.0, say)
    if not report.ok:
        return report
    async with SABOTAGE[invariant](world, random.Random(f"{seed}/{invariant}")):
        what = f"{invariant} broken on purpose"
        verdict, took = await converge(world, world.size.grace_s, final=True)
        say(f"{what}: {_outcome(verdict, took)}")
        _note(report, verdict, took, what)
    return report


def _note(report: Report, verdict: Verdict, took: float, what: str) -> None:
    report.checked.update(verdict.checked)
    report.slowest_s = max(report.slowest_s, took)
    if verdict.findings:
        report.findings, report.broke_at = verdict.findings, what


def _outcome(verdict: Verdict, took: float) -> str:
    count = sum(verdict.checked.values())
    if not verdict.findings:
        return f"[green]as promised after {took:.1f} s[/] ({count} statements)"
    return f"[red]{len(verdict.findings)} of {count} statements wrong after {took:.1f} s[/]"
