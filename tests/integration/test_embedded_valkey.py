"""The embedded Valkey: real data, one owner, no orphans."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis.asyncio as redis

from quest_backend.state.embedded import DataDirInUseError, EmbeddedValkey

pytestmark = pytest.mark.asyncio


async def _set(url: str, value: str) -> None:
    client = redis.Redis.from_url(url)
    await client.config_set("appendfsync", "always")
    await client.set("k", value)
    await client.aclose()


async def _get(url: str) -> object:
    client = redis.Redis.from_url(url, decode_responses=True)
    try:
        return await client.get("k")
    finally:
        await client.aclose()


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    for value in ("one", "two"):
        valkey = EmbeddedValkey(tmp_path)
        url = await valkey.start()
        if value == "two":
            assert await _get(url) == "one"
        await _set(url, value)
        await valkey.stop()


async def test_a_crashed_valkey_is_restarted_with_its_data(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    url = await valkey.start()
    await _set(url, "kept")
    before = valkey.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(10):
        while valkey.pid in (None, before):
            await asyncio.sleep(0.02)
        while True:
            try:
                assert await _get(url) == "kept"
                break
            except redis.ConnectionError:
                await asyncio.sleep(0.02)
    await valkey.stop()


async def test_a_data_directory_has_one_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quest_backend.state.embedded._LOCK_WAIT_S", 0.2)
    valkey = EmbeddedValkey(tmp_path)
    await valkey.start()
    with pytest.raises(DataDirInUseError, match="in use by another server"):
        await EmbeddedValkey(tmp_path).start()
    await valkey.stop()


async def test_only_a_unix_socket_is_open_also_at_the_end_of_a_long_path(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / ("deep" * 30))
    url = await valkey.start()
    await _set(url, "x")
    assert valkey.pid is not None
    assert psutil.Process(valkey.pid).net_connections("inet") == []
    await valkey.stop()


async def test_a_killed_server_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from quest_backend.state.embedded import EmbeddedValkey\n"
        "async def main():\n"
        "    valkey = EmbeddedValkey(pathlib.Path(sys.argv[1]))\n"
        "    await valkey.start()\n"
        "    print(valkey.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert not psutil.pid_exists(pid)
    valkey = EmbeddedValkey(tmp_path)
    await valkey.start()
    await valkey.stop()
