"""The image's steps, run: a wheel of what the Dockerfile copies, installed alone, serves everything."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from deployment import copied
from fronts import DEPLOY
from support import ADMIN_KEY, JWT_SECRET, free_port

ROOT = DEPLOY.parent


def _run(*command: str | Path, cwd: Path, **env: str) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _context(folder: Path) -> Path:
    """The repository as the build sees it."""
    for name in copied():
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy(source, target)
        else:
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("node_modules", "web", "__pycache__")
            )
    return folder


@pytest.mark.timeout(900)
def test_an_installed_wheel_serves_the_api_and_the_console(tmp_path: Path) -> None:
    context = _context(tmp_path / "src")
    pins = str(context / "constraints.txt")
    wheels, home = tmp_path / "wheels", tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ".", cwd=context, PIP_CONSTRAINT=pins,
         REQUIRE_COMPILED="1")  # fmt: skip
    (wheel,) = wheels.glob("quest_backend-*.whl")
    _run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    _run(*pip, "--python", home / "bin" / "python", "install", "--only-binary", ":all:", wheel,
         cwd=tmp_path, PIP_CONSTRAINT=pins)  # fmt: skip
    _run(home / "bin" / "python", "-c", "import quest_backend.sockets.fast_reader", cwd=tmp_path)

    port = free_port()
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [home / "bin" / "quest-backend", "serve", "--port", str(port)],
            env={"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path),
                 "DATA_DIR": str(tmp_path / "data"), "HOST": "127.0.0.1",
                 "ENVIRONMENT": "production", "JWT_SECRET": JWT_SECRET,
                 "ADMIN_API_KEY": ADMIN_KEY * 3},
            cwd=tmp_path, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as http:
            _up(http, process, log)
            page = http.get("/")
            assert "text/html" in page.headers["content-type"]
            scripts = re.findall(r'(?:src|href)="(/?assets/[^"]+)"', page.text)
            assert scripts
            for script in scripts:
                assert http.get(f"/{script.lstrip('/')}").status_code == 200, script
            assert http.get("/openapi.json").json()["info"]
    finally:
        process.terminate()
        process.wait(20)


def _up(http: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")
