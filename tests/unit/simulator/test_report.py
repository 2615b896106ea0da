"""A report never forgets a failure."""

import io

from rich.console import Console

from quest_backend.simulator.report import Report


def test_a_long_run_forgets_what_held_and_keeps_what_failed() -> None:
    report = Report("session")
    report.expect("early failure", ok=False)
    for number in range(200):
        report.expect(f"held {number}", ok=True)
    report.trim(50)
    assert len(report.expectations) == 51
    assert not report.ok
    assert report.expectations[0].name == "early failure"
    assert report.expectations[-1].name == "held 199"


def test_rendering_names_what_failed() -> None:
    report = Report("session")
    report.expect("all headsets record", ok=False, detail="3 of 4")
    out = io.StringIO()
    Console(file=out, width=80).print(report.render())
    assert "FAILED" in out.getvalue()
    assert "all headsets record" in out.getvalue()
    assert "3 of 4" in out.getvalue()
