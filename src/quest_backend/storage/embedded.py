"""The embedded S3: SeaweedFS (``weed mini``), as a child, with its data in ``DATA_DIR``.

Everything listens on 127.0.0.1 only. Objects are served by the S3 port to signed requests alone:
the ports of its inner servers want tokens that only they can make (``security.toml``).
"""

import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import structlog

from quest_backend.storage.presign import Credentials
from quest_backend.supervised import ChildError, SupervisedChild

log = structlog.get_logger()

REGION = "us-east-1"
_HOST = "127.0.0.1"
_PROBE_S = 1.0
_PORT_RANGE = range(20_000, 32_000)
# What Go's collector aims at; the store caches nothing that it could not read again.
_MEMORY_LIMIT_MIB = 512
_TRIES = 3
_TAKEN = re.compile(r"Port allocation failed|address already in use")
_PORTS = ("master", "volume", "filer", "s3", "admin")
# A count of its master that is there once the volumes have said what is in them.
_VOLUMES_KNOWN = 'SeaweedFS_master_received_heartbeats{type="dataNode"}'


class EmbeddedS3Error(ChildError):
    """The embedded object store could not be started; the message says why."""


class EmbeddedS3(SupervisedChild):
    """One object store in one data directory."""

    name = "s3"
    error = EmbeddedS3Error
    # Its own goodbye takes seconds, in which the next server waits; what it has answered for is
    # with the kernel already.
    orphan_signal = signal.SIGKILL
    stop_wait_s = 3.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir / "s3")
        self._ports: dict[str, int] = {}
        self.credentials = Credentials("", "")

    @property
    def endpoint(self) -> str:
        """Where S3 is spoken, on this machine only."""
        return f"http://{_HOST}:{self._ports['s3']}"

    def known(self) -> tuple[Credentials, str]:
        """Credentials and endpoint of the store that runs in this directory, for its owner."""
        self._ports = json.loads((self._dir / "ports.json").read_text())
        self.credentials = self._kept_credentials()
        return self.credentials, self.endpoint

    def free_bytes(self) -> int:
        """What is left on its disk."""
        return shutil.disk_usage(self._dir / "data").free

    async def start(self) -> str:
        """Start, or take over what a killed server left; the endpoint.

        Raises:
            DataDirInUseError: another server works there.
            EmbeddedS3Error: it did not come up; with the end of its log.
        """
        for again in reversed(range(_TRIES)):
            try:
                await self._begin()
            except EmbeddedS3Error as error:
                # Somebody took a port after it was found free; the next time it is not.
                if not _TAKEN.search(str(error)) or not again:
                    raise
                log.warning("embedded_s3_port_taken", reason=str(error))
            else:
                break
        return self.endpoint

    def _prepare(self) -> None:
        # Once: a store that is started again has to be where its clients know it.
        self._choose_ports()
        self.credentials = self._kept_credentials()
        keys = {
            name: secrets.token_urlsafe(32)
            for name in ("signing", "signing.read", "filer_signing", "filer_signing.read")
        }
        # Made anew at each start: tokens of a former life are worth nothing.
        security = "".join(f'[jwt.{name}]\nkey = "{key}"\n' for name, key in keys.items())
        security += "[access]\nui = false\n[filer.expose_directory_metadata]\nenabled = false\n"
        _write_private(self._dir / "security.toml", security)
        identity = {
            "name": "quest-backend",
            "credentials": [
                {
                    "accessKey": self.credentials.access_key,
                    "secretKey": self.credentials.secret_key,
                }
            ],
            "actions": ["Admin"],
        }
        _write_private(self._dir / "identities.json", json.dumps({"identities": [identity]}))

    def _kept_credentials(self) -> Credentials:
        """The same for the life of the data directory: URLs outlive a restart."""
        path = self._dir / "credentials.json"
        if not path.exists():
            made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_urlsafe(32)}
            _write_private(path, json.dumps(made))
        return Credentials(**json.loads(path.read_text()))

    def _choose_ports(self) -> None:
        """The same ports as last time when they are free: a worker beside the server knows them."""
        path = self._dir / "ports.json"
        wanted = [*_PORTS, *(f"{name}.grpc" for name in _PORTS), "metrics"]
        last = json.loads(path.read_text()) if path.exists() else {}
        if set(last) != set(wanted) or not all(_is_free(port) for port in last.values()):
            last = dict(zip(wanted, _free_ports(len(wanted)), strict=True))
            _write_private(path, json.dumps(last))
        self._ports = last

    def _command(self) -> list[str]:
        data = self._dir / "data"
        data.mkdir(exist_ok=True, mode=0o700)
        options = {
            "dir": data,
            "ip": _HOST,
            "ip.bind": _HOST,
            # Its parts speak gRPC with each other; over HTTP its master signs tokens for anyone.
            "disableHttp": "true",
            "master.telemetry": "false",
            # A log of elections for one voter. Resuming it, the master elects itself a moment after
            # it answers, and the volumes, refused in that moment, come back only after 5 s.
            "master.resumeState": "false",
            "admin.ui": "false",
            "webdav": "false",
            "volume.preStopSeconds": 0,
            "s3.iam": "false",
            "s3.config": self._dir / "identities.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # A missing bucket is an error, not a new bucket.
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            **{f"{name}.port": self._ports[name] for name in _PORTS},
            **{f"{name}.port.grpc": self._ports[f"{name}.grpc"] for name in _PORTS},
            "metricsPort": self._ports["metrics"],
        }
        flags = [f"-{name}={value}" for name, value in options.items()]
        weed = Path(sysconfig.get_path("scripts")) / "weed"
        return [str(weed), f"-config_dir={self._dir}", "-logtostderr", "mini", *flags]

    def _environment(self) -> Mapping[str, str]:
        # HOME, so that nobody's ~/.seaweedfs has a say.
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._dir),
            "GOMEMLIMIT": f"{_MEMORY_LIMIT_MIB}MiB",
        }

    async def _answers(self) -> bool:
        """Whether it serves objects: S3 is healthy before the volumes have reported to the master.

        Until then every read and write is a 500.
        """
        timeout = aiohttp.ClientTimeout(total=_PROBE_S)
        metrics = f"http://{_HOST}:{self._ports['metrics']}/metrics"
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                async with http.get(f"{self.endpoint}/healthz") as answer:
                    if answer.status != 200:
                        return False
                async with http.get(metrics) as answer:
                    return _VOLUMES_KNOWN in await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _clean(self) -> None:
        # It leaves sockets of its own in /tmp, named by port.
        for port in self._ports.values():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice
                path.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    """Written whole, then renamed: a crash leaves no half file behind."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Free ports below those that systems give to outgoing connections."""
    found: list[int] = []
    for port in random.sample(_PORT_RANGE, len(_PORT_RANGE)):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise EmbeddedS3Error(f"no {count} free ports on {_HOST}")
