"""The embedded Valkey: real data, one owner, no orphans."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import redis.asyncio as redis

from quest_backend import supervised
from quest_backend.state import embedded
from quest_backend.state.embedded import EmbeddedValkey, EmbeddedValkeyError
from quest_backend.supervised import DataDirInUseError, next_pause

pytestmark = pytest.mark.asyncio

# As the server runs it: under uvloop, which starts children by itself.
_PARENT = """
import pathlib, sys, asyncio, uvloop
from quest_backend.state.embedded import EmbeddedValkey
async def main():
    valkey = EmbeddedValkey(pathlib.Path(sys.argv[1]))
    print(await valkey.start(), valkey.pid, flush=True)
    await asyncio.sleep(60)
uvloop.run(main())
"""


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(data_dir)
    await valkey.start()
    try:
        yield valkey
    finally:
        await valkey.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def write(url: str, value: str) -> None:
    """Set k, on the disk before this returns."""
    async with redis.Redis.from_url(url) as client:
        await client.config_set("appendfsync", "always")
        await client.set("k", value)


async def read(url: str) -> object:
    async with redis.Redis.from_url(url, decode_responses=True) as client:
        return await client.get("k")


def gone(pid: int) -> bool:
    """Ended; in a container nobody may collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as valkey:
        assert valkey.running
        await write(valkey.url, "kept")
    assert not valkey.running
    async with started(tmp_path) as valkey:
        assert await read(valkey.url) == "kept"


async def test_a_crashed_valkey_is_restarted_with_its_data(tmp_path: Path) -> None:
    async with started(tmp_path) as valkey:
        await write(valkey.url, "kept")
        before = valkey.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await until(lambda: valkey.pid not in (None, before))
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await read(valkey.url) == "kept"
                    break
                except redis.ConnectionError:
                    await asyncio.sleep(0.02)


async def test_a_stop_during_a_restart_ends_though_its_cancellation_is_lost(tmp_path: Path) -> None:
    """As wait_for loses it before Python 3.12, now and then."""
    lost = 0

    class Deaf(EmbeddedValkey):
        async def _answers(self) -> bool:
            nonlocal lost
            if self._supervisor is not None:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    lost += 1
                    return True
            return await super()._answers()

    valkey = Deaf(tmp_path)
    await valkey.start()
    before = valkey.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await until(lambda: valkey.pid not in (None, before))
    async with asyncio.timeout(10):
        await valkey.stop()
    assert lost == 1
    assert not valkey.running


async def test_a_valkey_that_keeps_dying_is_restarted_ever_more_slowly() -> None:
    """Also one that answers before it dies; a long life is a new beginning."""
    pauses = [0.05]
    for _ in range(10):
        pauses.append(next_pause(pauses[-1], lived_s=1))
    assert pauses[1:4] == [0.1, 0.2, 0.4]
    assert pauses[-1] == 5
    assert next_pause(5, lived_s=60) == 0.05


async def test_a_data_directory_has_one_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "_LOCK_WAIT_S", 0.2)
    async with started(tmp_path) as valkey:
        with pytest.raises(DataDirInUseError, match="in use by another server"):
            await EmbeddedValkey(tmp_path).start()
        assert await read(valkey.url) is None  # the owner is not disturbed


async def test_only_a_unix_socket_of_the_owner_is_open(tmp_path: Path) -> None:
    async with started(tmp_path) as valkey:
        assert valkey.url == f"unix://{tmp_path}/valkey/valkey.sock"
        assert stat.S_IMODE((tmp_path / "valkey" / "valkey.sock").stat().st_mode) == 0o700
        assert psutil.Process(valkey.pid).net_connections("inet") == []


async def test_a_path_too_long_for_a_socket_gets_a_private_one(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / ("deep" * 30))
    for expected in (None, "kept"):
        folder = Path((await valkey.start()).removeprefix("unix://")).parent
        assert not folder.is_relative_to(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert await read(valkey.url) == expected
        await write(valkey.url, "kept")
        await valkey.stop()
        assert not folder.exists()


async def test_a_valkey_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "get_binary_path", lambda: tmp_path / "absent")
    with pytest.raises(EmbeddedValkeyError, match=r"(?s)ended at once.*absent: No such file"):
        await EmbeddedValkey(tmp_path).start()
    monkeypatch.undo()
    async with started(tmp_path):  # the failed one let go of the directory
        pass


async def test_a_killed_server_leaves_no_orphan_and_its_directory_free(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    url, pid = (await parent.stdout.readline()).decode().split()
    await write(url, "kept")
    parent.kill()
    async with started(tmp_path) as valkey:
        assert gone(int(pid))
        assert await read(valkey.url) == "kept"
    await parent.communicate()
