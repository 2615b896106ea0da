"""The real parts: servers that share one Valkey and one S3, and the lines to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bucket import BUCKET
from cluster import TROUBLE, Store, store
from support import Server

from chaos.lines import Line
from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.s3 import ObjectStore

# On a busy machine.
_START_S = 600.0
# A node is missed after four seconds, a client after ten: within the grace.
_SETTINGS = {
    "NODE_TIMEOUT_SECONDS": "4",
    "SOCKET_PING_INTERVAL_MS": "2000",
    "SOCKET_PING_TIMEOUT_MS": "8000",
    "DRAIN_SECONDS": "3",
    "UPLOAD_CHUNK_SIZE_MB": "5",
    "QA_CONCURRENCY": "1",
}


class Site:
    """Servers, Valkey and S3. ``s3_line`` is how headsets reach the store."""

    def __init__(
        self, servers: list[Server], valkey: Store, bucket: ObjectStore, s3_line: Line
    ) -> None:
        self.servers = servers
        self.valkey = valkey
        self.bucket = bucket
        self.s3_line = s3_line
        self.logged: list[str] = []
        self._read: dict[Path, int] = {}

    @property
    def ports(self) -> list[int]:
        """Where the servers listen."""
        return [server.port for server in self.servers]

    async def kill(self, number: int) -> None:
        """As a power cut does."""
        await asyncio.to_thread(self.servers[number].kill)

    async def stop(self, number: int) -> None:
        """In good order, as for an upgrade."""
        await asyncio.to_thread(self.servers[number].stop)

    async def start(self, number: int) -> None:
        """Start it again, and wait until it is healthy."""
        self.servers[number].spawn()
        await asyncio.to_thread(self.servers[number].wait, _START_S)

    def read_logs(self) -> list[str]:
        """All lines so far that tell of a fault of a server's own."""
        for server in self.servers:
            self.logged += self._new_trouble(server)
        return self.logged

    def _new_trouble(self, server: Server) -> Iterator[str]:
        with server.log.open("rb") as log:
            log.seek(self._read.get(server.log, 0))
            text = log.read()
        # A line that is still being written is read the next time.
        whole = text[: text.rfind(b"\n") + 1]
        self._read[server.log] = self._read.get(server.log, 0) + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if any(trouble in line for trouble in TROUBLE):
                yield f"{server.data_dir.name}: {line.strip()[:300]}"


@asynccontextmanager
async def site(folder: Path, count: int, grace_s: float) -> AsyncIterator[Site]:
    """Start everything in ``folder``."""
    async with contextlib.AsyncExitStack() as stack:
        valkey = stack.enter_context(store(folder / "valkey"))
        child = EmbeddedS3(folder)
        await child.start()
        stack.push_async_callback(child.stop)
        bucket = ObjectStore(BUCKET, embedded.REGION, child.endpoint, child.credentials)
        await bucket.open()
        stack.push_async_callback(bucket.close)
        await bucket.make_bucket()
        s3_line = Line([urlsplit(child.endpoint).port or 80])
        await s3_line.open()
        stack.push_async_callback(s3_line.close)
        settings = {
            **_SETTINGS,
            "TABLET_GRACE_SECONDS": str(grace_s),
            "REDIS_URL": valkey.url,
            "S3_ENDPOINT_URL": child.endpoint,
            "S3_PUBLIC_ENDPOINT_URL": s3_line.url,
            "AWS_ACCESS_KEY_ID": child.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": child.credentials.secret_key,
        }
        servers = [Server(folder / f"node{number + 1}", **settings) for number in range(count)]
        stack.push_async_callback(_stop_all, servers)
        for server in servers:
            server.spawn()
        await asyncio.gather(*(asyncio.to_thread(server.wait, _START_S) for server in servers))
        yield Site(servers, valkey, bucket, s3_line)


async def _stop_all(servers: list[Server]) -> None:
    there = [one for one in servers if one.process is not None and one.process.poll() is None]
    await asyncio.gather(*(asyncio.to_thread(server.stop) for server in there))
