"""What is made of readings: rates, where the limit lay, how far off the model was."""

import dataclasses
from typing import Any

import pytest
from scaling.cluster import Counted, Reading, Used
from scaling.nodes import Check, Run, check, ratios
from unit_costs import UNITS

RUN = Run(
    name="300_x_40kb_elsewhere", headsets=300, frame_kb=40, shards=0, shift=1, sent=9000,
    delivered=9000, skipped=0, dropped=0, lost=0, age_p50_ms=2, age_p99_ms=20, nodes=1.5,
    valkeys=0.4, load=0.5, machine_share=0.8, bus_in=3.7e8, bus_out=3.6e8, rss_mib=150,
)  # fmt: skip


def test_rates_are_of_the_time_between_the_readings_of_each() -> None:
    """Counters of a busy server are read late at first; at the end nothing happens any more."""
    before = Reading(
        at=10.0, cpu_s={"node0": 3.0}, rss_mib={"node0": 100},
        nodes=[Counted(12.0, {"dropped": 5})], valkeys={"state": Counted(10.0, {"commands": 100})},
    )  # fmt: skip
    after = Reading(
        at=20.0, cpu_s={"node0": 8.0}, rss_mib={"node0": 130},
        nodes=[Counted(23.0, {"dropped": 45})], valkeys={"state": Counted(20.5, {"commands": 600})},
    )  # fmt: skip
    used = Used.between(before, after)
    assert used.cpu["node0"] == pytest.approx(0.5)
    assert used.grown_mib["node0"] == 30
    assert used.nodes[0]["dropped"] == pytest.approx(40 / 8)
    assert used.bus("commands") == pytest.approx(50)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "none"),
        ({"delivered": 5000.0, "nodes": 2.9}, "server"),
        ({"delivered": 5000.0, "valkeys": 0.98}, "Valkey"),
        ({"delivered": 5000.0, "machine_share": 0.99}, "machine"),
        ({"age_p99_ms": 900.0}, "latency"),
    ],
)
def test_the_limit_is_what_was_full(changes: dict[str, Any], limit: str) -> None:
    assert dataclasses.replace(RUN, **changes).limit == limit


def test_the_model_predicts_a_run_from_its_frames_alone() -> None:
    found = check(UNITS, RUN)
    per_frame_us = (
        UNITS.frame_in.us(40) + UNITS.frame_check.us(40) + UNITS.frame_out.us(40)
        + UNITS.frame_publish.us(40) + UNITS.frame_receive.us(40)
    )  # fmt: skip
    pings_us = 600 * UNITS.connection_us_per_s + 3 * UNITS.node_idle_us_per_s
    assert found.nodes[0] == pytest.approx((9000 * per_frame_us + pings_us) / 1e6)
    assert found.nodes[1] == RUN.nodes
    assert found.bus_out[0] == pytest.approx(9000 * 40_060)
    assert found.bus_out[1] == RUN.bus_out
    assert Check.error((1.2, 1.0)) == pytest.approx(0.2)
    local = check(UNITS, dataclasses.replace(RUN, shift=0))
    assert local.nodes[0] < found.nodes[0]
    assert local.bus_out[0] == 0


def test_crossing_is_compared_with_a_local_run_of_the_same_size() -> None:
    local = dataclasses.replace(RUN, name="300_x_40kb_local", shift=0, nodes=0.95, valkeys=0.0)
    smaller = dataclasses.replace(local, name="300_x_10kb_local", frame_kb=10)
    found = dict(ratios([local, smaller, RUN]))
    assert found["three_nodes_300_x_40kb_cross_to_local"] == pytest.approx(2.0)
    assert sum(name.endswith("cross_to_local") for name in found) == 1
