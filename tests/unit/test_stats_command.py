"""What ``quest-backend stats`` prints."""

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from quest_backend.cli import cli
from quest_backend.stats_command import bar, report, size

FOUND: dict[str, Any] = {
    "overview": {"totalFiles": 3, "totalSizeGB": 3.5, "totalSizeBytes": int(3.5 * 2**30),
                 "averageFileSizeMB": 1194.67, "lastUpdated": "2026-02-06T14:30:52.000Z"},
    "byType": {".mp4": {"count": 2, "sizeGB": 3, "percentage": 85.7},
               ".npz": {"count": 1, "sizeGB": 0.5, "percentage": 14.3}},
    "sessions": {"total": 2, "complete": 1, "incomplete": 1, "sessions": [
        {"id": "20260206_143052", "files": 1, "sizeGB": 1, "hasMp4": True, "hasNpz": False,
         "status": "incomplete"},
        {"id": "20260207_143052", "files": 2, "sizeGB": 2.5, "hasMp4": True, "hasNpz": True,
         "status": "complete"}]},
    "processedOutputs": {"count": 0, "sizeGB": 0, "files": []},
    "timeline": [{"date": "2026-02-06", "files": 3, "sizeGB": 3.5, "mp4Count": 2, "npzCount": 1,
                  "zipCount": 0}],
    "costs": {"currentMonthly": 0.0805, "intelligentTiering": 0.06825,
              "glacierDeepArchive": 0.003465, "costPerSession": 0.0805},
    "insights": {
        "videoStats": {"count": 2, "minGB": 1, "maxGB": 2, "avgGB": 1.5, "medianGB": 1.5},
        "npzStats": {"count": 1, "minMB": 512, "maxMB": 512, "avgMB": 512, "medianMB": 512}},
}  # fmt: skip
STATE = {"state": "stale", "error": "the bucket cannot be listed: [503]"}


def shown(sessions: int = 10) -> str:
    text = io.StringIO()
    Console(width=100, file=text).print(report(STATE, FOUND, sessions))
    return text.getvalue()


def test_everything_is_there() -> None:
    text = shown()
    for words in (
        "3 files, 3.5 GiB, 1.2 GiB on average",
        "stale",
        "The last pass failed: the bucket cannot be listed: [503]",
        "2 sessions: 1 complete, 1 incomplete",
        "85.7 %",
        "0.08",
        "0.0035",
        "512.0 MiB",
        "2026-02-06",
        "0 processed outputs",
    ):
        assert words in text, words


def test_incomplete_sessions_come_first_and_the_rest_is_counted() -> None:
    text = shown(sessions=1)
    assert "20260206_143052" in text
    assert "20260207_143052" not in text
    assert "and 1 more" in text
    assert "missing" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**30, "1.0 GiB"), (2**50, "1,024.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_a_little_is_not_nothing() -> None:
    assert bar(0) == ""
    assert bar(1e-9) == "█"
    assert len(bar(1)) == 24


def test_help_has_examples() -> None:
    text = CliRunner().invoke(cli, ["stats", "--help"]).output
    assert "quest-backend stats --refresh" in text
    assert "--json" in text
