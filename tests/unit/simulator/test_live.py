"""The live summary fits the smallest terminal."""

import io

import pytest
from rich.console import Console

from quest_backend.simulator.devices import SimulatedHeadset, SimulatedTablet
from quest_backend.simulator.live import LiveSummary


@pytest.mark.parametrize("headsets", [1, 8, 1000])
@pytest.mark.parametrize("tablets", [0, 1, 20])
def test_the_table_fits_80_by_24(headsets: int, tablets: int) -> None:
    fleet = [
        SimulatedHeadset("u", f"SIMQUEST_{n:04d}", "t", [], frames=[""], fps=1, seed=n)
        for n in range(headsets)
    ]
    operators = [SimulatedTablet("u", f"SIMQUEST_TABLET_{n}", "t", []) for n in range(tablets)]
    for operator in operators:
        operator.locks = {headset.device_id: "A" * 20 for headset in fleet}
    out = io.StringIO()
    summary = LiveSummary("http://127.0.0.1:3200", fleet, operators)
    Console(file=out, width=80, height=24, force_terminal=True, color_system=None).print(
        summary.table()
    )
    lines = out.getvalue().splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert fleet[0].device_id in out.getvalue()
