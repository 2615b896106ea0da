"""A real server as a child of ours: one owner of its directory, restarted when it dies, no orphan.

The lock on the directory is inherited by the child, so it is held as long as either lives: two
stores in one directory would corrupt each other's files.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import structlog

from quest_backend import child, tasks

log = structlog.get_logger()

_LOCK_WAIT_S = 10.0
_START_WAIT_S = 20.0
_RESTART_FIRST_S = 0.05
_RESTART_CAP_S = 5.0
# A child that ran this long died of something new: its pauses begin again.
_STEADY_S = 10.0


class ChildError(Exception):
    """The child could not be started; the message says why."""


class DataDirInUseError(ChildError):
    """Another server works in this data directory."""


class SupervisedChild:
    """One child in one directory. Use from the main thread.

    A kind of child says what its ``_command`` is and when it ``_answers``.
    """

    name: str
    error: type[ChildError] = ChildError
    # What it gets when the server was killed.
    orphan_signal = signal.SIGTERM
    # How long its goodbye may take.
    stop_wait_s = 10.0

    def __init__(self, directory: Path) -> None:
        self._dir = directory.absolute()
        self._lock_fd = -1
        self._log_file = self._dir / f"{self.name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def running(self) -> bool:
        """Whether the child lives; it may still be loading its data."""
        return self.pid is not None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> Mapping[str, str] | None:
        """The child's environment; None for ours."""
        return None

    async def _answers(self) -> bool:
        """Whether it is ready."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """What has to be there before the first start. The directory is ours by now."""

    def _clean(self) -> None:
        """Remove what only lived with the child."""

    async def _begin(self) -> None:
        """Start, or take over what a killed server left.

        Raises:
            DataDirInUseError: another server works there.
            ChildError: it did not come up; with the end of its log.
        """
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_fd = await take_lock(self._dir / "lock", self._dir.parent)
        try:
            self._prepare()
            await self._spawn()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self) -> None:
        """Stop, with everything on disk."""
        supervisor, self._supervisor = self._supervisor, None
        await tasks.end([supervisor] if supervisor is not None else [])
        await self._end_process()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        self._clean()

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            process.terminate()
        try:
            async with asyncio.timeout(self.stop_wait_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        signal_number = str(int(self.orphan_signal))
        launcher = [
            sys.executable, "-I", "-S", child.__file__, str(os.getpid()), signal_number, "--",
        ]  # fmt: skip
        with self._output() as output:
            self._process = await asyncio.create_subprocess_exec(
                *launcher,
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                pass_fds=(self._lock_fd,),
                # Ctrl-C goes to the whole terminal; the server stops its children after itself.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_WAIT_S):
                while not await self._up():  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise self.error(self._story("did not answer in time")) from None

    async def _up(self) -> bool:
        if self._process is None or self._process.returncode is not None:
            code = f" with code {self._process.returncode}" if self._process else ""
            raise self.error(self._story(f"ended at once{code}"))
        return await self._answers()

    def _output(self) -> BinaryIO:
        # What goes wrong before the child opens its log belongs there too.
        return self._log_file.open("ab")

    def _story(self, what: str) -> str:
        tail = self._log_file.read_text(errors="replace").splitlines()[-5:]
        return "\n".join([f"the embedded {self.name} {what}; its log ends with:", *tail])

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = _RESTART_FIRST_S
        while True:
            since = clock()
            if self._process is not None:
                code = await self._process.wait()
                log.warning("embedded_store_died", store=self.name, code=code)
            pause = next_pause(pause, lived_s=clock() - since)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            try:
                await self._spawn()
            except (ChildError, OSError) as error:
                log.error("embedded_store_not_restarted", store=self.name, reason=str(error))
                await self._end_process()
            else:
                log.warning("embedded_store_restarted", store=self.name, pid=self.pid)


def next_pause(last_s: float, *, lived_s: float) -> float:
    """Seconds before the next restart, at most 5, of a child that ran for ``lived_s``."""
    return _RESTART_FIRST_S if lived_s > _STEADY_S else min(_RESTART_CAP_S, last_s * 2)


async def take_lock(path: Path, data_dir: Path) -> int:
    """Lock a file for as long as the descriptor that this returns, or a copy of it, is open.

    Raises:
        DataDirInUseError: another server has it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        async with asyncio.timeout(_LOCK_WAIT_S):
            # A server killed a moment ago: its child is still writing.
            while not _locked(fd):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
    except BaseException as error:
        os.close(fd)
        if not isinstance(error, TimeoutError):
            raise
        raise DataDirInUseError(
            f"data directory {data_dir} is in use by another server; "
            "stop it or choose another --data-dir"
        ) from None
    return fd


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
