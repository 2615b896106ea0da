"""A plan follows from its seed, and leaves nothing out."""

from itertools import islice

from chaos.awake import counted_s
from chaos.faults import Fault, plan


def test_the_same_seed_makes_the_same_plan() -> None:
    assert list(islice(plan(7), 40)) == list(islice(plan(7), 40))


def test_seeds_differ() -> None:
    assert len({tuple(islice(plan(seed), len(Fault))) for seed in range(10)}) == 10


def test_each_round_has_every_fault() -> None:
    faults = list(islice(plan(1), 3 * len(Fault)))
    for first in range(0, len(faults), len(Fault)):
        assert set(faults[first : first + len(Fault)]) == set(Fault)


def test_time_in_which_the_machine_stood_still_does_not_count() -> None:
    assert counted_s(0.1) == 0.1
    assert counted_s(100.0) < 1
