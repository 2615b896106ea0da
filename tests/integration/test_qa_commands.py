"""``quest-backend qa`` and ``worker`` beside a real server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket import BUCKET, opened_store, put_recordings, session_ids
from recordings import SESSION, arrays, npz
from support import Server

pytestmark = pytest.mark.asyncio

DATA = npz(arrays(600))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that leaves jobs to workers."""
    running = Server(tmp_path_factory.mktemp("lab"), QA_CONCURRENCY="0").start()
    yield running
    running.stop()


def environment(**more: str) -> dict[str, str]:
    base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {**base, "COLUMNS": "120", **more}


def command(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "quest_backend", *arguments, "--data-dir", str(server.data_dir)],
        env=environment(), capture_output=True, text=True, timeout=100, cwd=server.data_dir,
    )  # fmt: skip


def spawned(server: Server, log_path: Path) -> "subprocess.Popen[bytes]":
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quest_backend", "worker", "--concurrency", "3",
             "--data-dir", str(server.data_dir)],
            env=environment(), stdout=log, stderr=log,
        )  # fmt: skip


@pytest.mark.parametrize("target", [SESSION, f"s3://{BUCKET}/sessions/{SESSION}",
                                    f"s3://{BUCKET}/sessions/{SESSION}/session_data.npz"])  # fmt: skip
async def test_a_recording_in_the_bucket_is_shown_with_lanes(lab: Server, target: str) -> None:
    async with opened_store(lab.data_dir) as store:
        await put_recordings(store, [SESSION], DATA, b"no video")
    shown = command(lab, "qa", target)
    assert shown.returncode == 0, shown.stderr
    assert SESSION in shown.stdout
    assert "left confidence" in shown.stdout
    told = json.loads(command(lab, "qa", target, "--json").stdout)
    assert told["sessionId"] == SESSION
    assert told["stages"]["stage2_captureQuality"]["totalFrames"] == 600


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["20200101_000000"], "there is no recording"),
        ([f"s3://{BUCKET}"], "not a recording"),
        ([f"s3://{BUCKET}/sessions/../secrets"], "not a recording"),
        (["s3://no-such-bucket/sessions/20200101_000000"], "no-such-bucket"),
        ([], "--all"),
        ([SESSION, "--all"], "--all"),
    ],
)
async def test_what_cannot_be_scored_is_said_in_a_line(
    lab: Server, arguments: list[str], says: str
) -> None:
    shown = command(lab, "qa", *arguments)
    assert shown.returncode == 2
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


async def test_everything_new_is_scored_by_workers(lab: Server, tmp_path: Path) -> None:
    ids = session_ids(20)
    async with opened_store(lab.data_dir) as store:
        await put_recordings(store, ids, DATA, b"no video")
    worker = spawned(lab, tmp_path / "worker.log")
    try:
        shown = command(lab, "qa", "--all")
        assert shown.returncode == 0, shown.stderr
        assert "20 recordings measured: 20 complete" in shown.stdout
        again = command(lab, "qa", "--all")
        assert "20 recordings measured" in again.stdout
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    told = (tmp_path / "worker.log").read_text()
    assert told.count('"event": "recording_scored"') == 20
    assert "worker_stopped" in told
    assert "Traceback" not in told


async def test_without_a_server_both_say_what_to_do(tmp_path: Path) -> None:
    nowhere = Server(tmp_path / "nowhere")
    nowhere.data_dir.mkdir()
    for arguments, says in (
        (["worker"], "no server runs in"),
        (["qa", "--all"], "no server runs in"),
        (["qa", SESSION], "no server has run in"),
    ):
        shown = command(nowhere, *arguments)
        assert shown.returncode in (1, 2)
        assert says in shown.stderr
        assert "Traceback" not in shown.stderr
