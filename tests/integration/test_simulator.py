"""The simulator against a real server, as a user runs it."""

import asyncio

import pytest
from support import Server, free_port

from quest_backend.simulator import Scenario, SimulatorError, SimulatorOptions, simulate
from quest_backend.simulator.pictures import loop
from quest_backend.simulator.report import Report

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("scenario", list(Scenario))
async def test_scenario(server: Server, scenario: Scenario) -> None:
    options = SimulatorOptions(
        server.url, headsets=6, fps=5, duration_s=6, scenario=scenario, live=False,
        device_prefix=f"SIM{scenario.name}",
    )  # fmt: skip
    report = await simulate(options)
    assert report.ok, [one for one in report.expectations if not one.ok]


async def test_an_expectation_that_fails_fails_the_run() -> None:
    report = Report("x")
    assert not report.ok
    report.expect("it holds", ok=True)
    assert report.ok
    report.expect("it does not", ok=False)
    assert not report.ok


async def test_no_server_is_a_clear_error() -> None:
    with pytest.raises(SimulatorError, match="start one with: quest-backend serve"):
        await simulate(SimulatorOptions(f"http://127.0.0.1:{free_port()}", headsets=1))


async def test_pictures_are_jpegs_that_change() -> None:
    frames = await asyncio.to_thread(loop, "QUEST", 4)
    assert len(set(frames)) == 4
    assert all(frame.startswith("/9j/") and 8_000 < len(frame) < 80_000 for frame in frames)
