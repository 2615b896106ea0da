"""The checker on real servers: silent when all is well, and not when it is not."""

import random
from pathlib import Path

import pytest

from chaos.faults import Fault
from chaos.invariants import Invariant
from chaos.run import close_shop, converge, suffer
from chaos.sabotage import SABOTAGE
from chaos.world import Size, World, world

pytestmark = pytest.mark.asyncio

_SEED = 1
_FAULTS = (Fault.CONNECTIONS_CUT, Fault.NODE_KILLED, Fault.CLIENTS_MOVED)
# How long a broken promise is watched before it counts as broken.
_WATCHED_S = 1.5


@pytest.mark.timeout(600)  # the usual time is a minute; everything here is started and killed
async def test_a_fleet_survives_and_each_broken_promise_is_seen(tmp_path: Path) -> None:
    async with world(tmp_path, Size(headsets=9, tablets=3, nodes=2), _SEED) as everything:
        for number, fault in enumerate(_FAULTS):
            await suffer(everything, fault, random.Random(f"{_SEED}/{number}"))
            verdict, _ = await converge(everything, everything.size.grace_s)
            assert verdict.findings == [], fault
        verdict, _ = await close_shop(everything)
        assert verdict.findings == []
        assert all(verdict.checked[invariant] for invariant in Invariant)
        for invariant in Invariant:
            await _is_seen(everything, invariant)


async def _is_seen(everything: World, invariant: Invariant) -> None:
    async with SABOTAGE[invariant](everything, random.Random(f"{_SEED}/{invariant}")):
        verdict, _ = await converge(everything, _WATCHED_S, final=True)
        assert verdict.broken == {invariant}
    verdict, _ = await converge(everything, everything.size.grace_s, final=True)
    assert verdict.findings == [], f"{invariant} was mended"
