"""The units of deploy/systemd, read by systemd itself."""

import shutil
import subprocess
from pathlib import Path

import pytest
from fronts import BIN, DEPLOY

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NO systemd here: units are NOT verified"
)
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert UNITS
    for unit in UNITS:
        # It looks whether the program is there, too.
        text = unit.read_text()
        assert "ExecStart=/opt/quest-backend/bin/quest-backend " in text
        (tmp_path / unit.name).write_text(text.replace("/opt/quest-backend/bin", str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "quest-backend" in line]
    assert done.returncode == 0, done.stderr
    assert not complaints


def test_server_and_worker_share_the_user_that_owns_their_data() -> None:
    """With DynamicUser, another user would take the folder away from the running server."""
    for unit in UNITS:
        text = unit.read_text()
        assert "\nUser=quest-backend\nDynamicUser=yes\nStateDirectory=quest-backend\n" in text
        assert "--data-dir /var/lib/quest-backend" in text
