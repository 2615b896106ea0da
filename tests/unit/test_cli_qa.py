"""``quest-backend qa`` as people and scripts use it."""

import json
from pathlib import Path

import numpy as np
import pytest
from recordings import SESSION, Counted, arrays, npz
from rich.console import Console
from typer.testing import CliRunner, Result

from quest_backend.cli import cli
from quest_backend.cli_qa import columns, one, spark
from quest_backend.jobs.local_recordings import Scored
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import read_recording
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import STANDARD, decide
from quest_backend.qa.video import Video


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(
        cli, ["qa", *map(str, arguments)], env={"COLUMNS": "120", **(env or {})}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / SESSION
    made.mkdir()
    confidence = np.linspace(0, 1, 600, dtype=np.float32)
    errors = np.arange(600) >= 500
    (made / "session_data.npz").write_bytes(
        npz(arrays(left_confidence=confidence, tracking_errors=errors))
    )
    return made


def test_one_session_is_shown_with_reasons_and_lanes(folder: Path) -> None:
    done = run(folder)
    assert done.exit_code == 0
    assert "WARN" in done.stdout
    assert f"{SESSION}" in done.stdout
    assert "the video is missing" in done.stdout
    lines = {line[:17].strip(): line[17:].strip() for line in done.stdout.splitlines()}
    assert lines["left confidence"].startswith("▁▁")
    assert lines["left confidence"].endswith("██")
    assert set(lines["right confidence"]) == {"█"}
    marked = lines["errors"].replace("·", "")
    # The first and the last of them may hold other frames too.
    assert set(marked[1:-1]) == {"█"}
    assert 0.1 < len(marked) / len(lines["errors"]) < 0.25
    assert set(lines["too fast"]) == {"·"}


def test_json_is_one_object_per_session_and_nothing_else(folder: Path) -> None:
    other = folder.with_name("20260206_143053")
    other.mkdir()
    (other / "session_data.npz").write_bytes(b"broken")
    done = run(folder.parent, "--json")
    assert done.exit_code == 1
    sessions = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["sessionId"] for one in sessions] == [SESSION, "20260206_143053"]
    assert [one["verdict"]["verdict"] for one in sessions] == ["WARN", "FAIL"]
    assert sessions[0]["stages"]["stage2_captureQuality"]["trackingErrorsPercent"] == 16.67


def test_several_sessions_are_a_table(folder: Path) -> None:
    other = folder.with_name("20260206_143053")
    other.mkdir()
    (other / "session_data.npz").write_bytes(b"broken")
    done = run(folder.parent)
    assert done.exit_code == 1
    assert "the file is no zip file" in done.stdout
    assert "0 PASS, 1 WARN, 1 FAIL" in done.stdout


def test_profiles_are_chosen_by_option_setting_and_recording(folder: Path) -> None:
    own = {"QA_PROFILES": '{"study": {"captureQuality": {"fail": 84}, "videoReadable": {}}}'}
    assert run(folder, "--profile", "strict").exit_code == 1
    assert run(folder, env={"QA_PROFILE": "strict"}).exit_code == 1
    done = run(folder, "--profile", "study", "--json", env=own)
    assert json.loads(done.stdout)["verdict"]["profile"] == "study"
    assert done.exit_code == 1
    refused = run(folder, "--profile", "nobody's")
    assert refused.exit_code == 2
    assert "there are standard, strict" in refused.stderr


def test_a_recording_names_its_own_profile(folder: Path) -> None:
    meta = {"qa_profile": "strict", "total_frames": 600}
    (folder / "session_data.npz").write_bytes(
        npz(arrays(metadata=np.array([json.dumps(meta).encode()])))
    )
    assert json.loads(run(folder, "--json").stdout)["verdict"]["profile"] == "strict"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"QA_PROFILE": "nobody's"}, "QA_PROFILE: there is no profile"),
        (
            {"QA_PROFILES": '{"own": {"beauty": {}}}'},
            "QA_PROFILES: profile own: there is no measure",
        ),
        ({"QA_MAX_MEMBER_BYTES": "1"}, "QA_MAX_MEMBER_BYTES: "),
    ],
)
def test_wrong_settings_are_one_clear_line(folder: Path, env: dict[str, str], message: str) -> None:
    done = run(folder, env=env)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_path_with_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "no such file or folder" in done.stderr.replace("\n", " ")


def test_markup_in_names_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "[red]x[oops].npz").write_bytes(npz())
    done = run(tmp_path / "[red]x[oops].npz")
    assert done.exit_code == 0
    assert "[red]x[oops]" in done.stdout


def test_a_codec_that_looks_like_markup_is_shown_as_it_is(folder: Path) -> None:
    recording = read(read_recording(len(npz())), Counted(npz()))
    session = score_session(SESSION, recording, Video("[/b]", 1, 1, 600, 10.0))
    with (console := Console(width=100)).capture() as shown:
        console.print(one(Scored(session, None), decide(session, STANDARD)))
    assert "[/b] 1x1" in shown.get()


def test_a_column_of_a_lane_is_as_high_as_the_share_that_is_marked() -> None:
    lane = [1] + [0] * 1999
    assert len(columns(lane)) <= 160
    assert 0 < columns(lane)[0] < 0.2
    assert not any(columns(lane)[1:])
    assert columns([1, 0, 1]) == [1, 0, 1]
    assert columns([]) == []


@pytest.mark.parametrize(("value", "bar"), [(0, "▁"), (0.5, "▅"), (0.999, "█"), (1, "█")])
def test_bars_grow_with_the_value(value: float, bar: str) -> None:
    assert spark(value) == bar
