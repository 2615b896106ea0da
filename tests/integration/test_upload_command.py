"""``quest-backend upload`` and ``stats`` without a server: a clear line, soon."""

import time
from pathlib import Path

import pytest
import typer
from support import free_port
from typer.testing import CliRunner

from quest_backend import stats_command, upload_command

commands = typer.Typer()
commands.command()(upload_command.upload)
commands.command()(stats_command.stats)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code, and what it said."""
    done = CliRunner().invoke(commands, [*arguments, "--api-key", "key"])
    return done.exit_code, done.output


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "recording.mp4"
    path.write_bytes(b"video")
    return str(path)


@pytest.mark.parametrize("url", ["lab", "lab:3200", "ftp://lab", "http://", ""])
def test_what_is_no_url_is_said_at_once(file: str, url: str) -> None:
    for command in (("upload", file), ("stats",)):
        code, said = run(*command, "--url", url)
        assert code == 1
        assert "is not the URL of a server, such as http://127.0.0.1:3200" in said
        assert "goes on" not in said


def test_a_server_that_is_not_there_is_not_waited_for_long(file: str) -> None:
    """A started upload waits two minutes for a server that went away; this one never began."""
    started = time.monotonic()
    code, said = run("upload", file, "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert "gave up after 5 s" in said
    assert "The same command goes on where this one ended." in said
    assert time.monotonic() - started < 60
