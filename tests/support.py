"""A real server in a process of its own, and real clients."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import socketio

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound, Outbound
from quest_backend.tokens import Tokens

JWT_SECRET = "test-secret-of-at-least-32-characters"
ADMIN_KEY = "test-admin-key"
TOKENS = Tokens(JWT_SECRET, ADMIN_KEY)
# What an answer may take on a machine that stands still for a while. How soon it should come is
# measured where it matters.
PATIENCE_S = 15.0
_numbers = itertools.count(1)
# Each that was started, for the story of a test that failed.
STARTED: "list[Server]" = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_id(kind: str) -> str:
    """A device id that no other test uses."""
    return f"{kind}_{os.getpid()}_{next(_numbers):04d}"


class Server:
    """``quest-backend serve``, as a user starts it; ``inside`` begins the command, as sudo would."""

    def __init__(
        self, data_dir: Path, *, inside: Sequence[str] = (), address: str = "127.0.0.1", **env: str
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://{address}:{self.port}"
        self._inside = inside
        # How clients come here, unless they say otherwise: by what transports, from which address.
        self.transports = ["websocket"]
        self.clients_at = ""
        self.log = data_dir / "server.log"
        self._env = {
            "JWT_SECRET": JWT_SECRET,
            "ADMIN_API_KEY": ADMIN_KEY,
            "RATE_LIMIT_MULTIPLIER": "100",
            "TABLET_GRACE_SECONDS": "2",
            "HOST": address,
            "WEBSOCKET_PROTOCOL": os.environ.get("WEBSOCKET_PROTOCOL", "picows"),
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> "subprocess.Popen[bytes]":
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self not in STARTED:
            STARTED.append(self)
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._inside, sys.executable, "-m", "quest_backend", "serve", "--port", str(self.port),
                 "--data-dir", str(self.data_dir)],
                env={**base, **self._env}, stdout=log, stderr=log, cwd=self.data_dir,
            )  # fmt: skip
        return self.process

    def start(self) -> Self:
        self.spawn()
        return self.wait()

    def wait(self, timeout_s: float = 60) -> Self:
        """Until it answers."""
        process = self.process
        assert process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return self
            if process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()  # one that comes late would slow down the tests that follow
        raise AssertionError(f"the server did not start: {self.story()}")

    def story(self) -> str:
        """Whether it runs, and the end of its log."""
        code = self.process.poll() if self.process is not None else None
        state = "runs" if code is None else f"ended with {code}"
        return f"{state}\n{self.log.read_text()[-4000:]}"

    def kill(self) -> None:
        """As a power cut does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)

    def http(
        self, identity: str = "", kind: DeviceType = DeviceType.TABLET, *, admin: bool = False
    ) -> httpx.AsyncClient:
        headers = {"X-API-Key": ADMIN_KEY} if admin else {}
        if identity:
            headers["Authorization"] = f"Bearer {TOKENS.issue(identity, kind)}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_S)


class Client:
    """A Socket.IO client that remembers everything, and checks it against the catalogue."""

    def __init__(
        self, server: Server, kind: DeviceType, identity: str = "", *,
        transports: list[str] | None = None, token: str | None = None, query: bool = False,
    ) -> None:  # fmt: skip
        self.identity = identity or new_id(kind.value)
        self.kind = kind
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        self._server = server
        self._transports = transports or server.transports
        self._token = TOKENS.issue(self.identity, kind) if token is None else token
        self._query = query
        self._news = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self.socket = self._new_socket()

    def _new_socket(self, **options: Any) -> socketio.AsyncClient:
        socket = socketio.AsyncClient(reconnection=False, **options)
        socket.on("*", self._on_event)
        return socket

    async def __aenter__(self) -> Self:
        if self._server.clients_at:
            connector = aiohttp.TCPConnector(local_addr=(self._server.clients_at, 0))
            self._http = aiohttp.ClientSession(connector=connector)
            self.socket = self._new_socket(http_session=self._http)
        url = self._server.url + (f"?token={self._token}" if self._query else "")
        await self.socket.connect(
            url,
            auth=None if self._query else {"token": self._token},
            transports=self._transports,
            wait_timeout=PATIENCE_S,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.socket.disconnect()
        if self._http is not None:
            await self._http.close()

    @property
    def sid(self) -> str:
        return str(self.socket.get_sid())

    async def _on_event(self, name: str, *args: Any) -> None:
        declared = catalogue.OUTBOUND[name]
        for arg, value in zip(declared.args, args, strict=False):
            arg.adapter.validate_python(value)
        self.events.append((name, args))
        self._news.set()

    async def send(self, event: Inbound, *args: Any) -> None:
        await self.socket.emit(event.name, args if len(args) != 1 else args[0])

    async def call(self, event: Inbound, *args: Any, timeout_s: float = PATIENCE_S) -> Any:
        body = args if len(args) != 1 else args[0]
        return await self.socket.call(event.name, body, timeout=timeout_s)

    def seen(self, event: Outbound) -> list[Any]:
        """First arguments of all such events so far."""
        return [args[0] if args else None for name, args in self.events if name == event.name]

    async def gets(
        self,
        event: Outbound,
        where: Callable[[Any], bool] = lambda _: True,
        timeout_s: float = PATIENCE_S,
    ) -> Any:
        """The first argument of the first such event, past or to come, that ``where`` accepts."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._news.clear()
                for value in self.seen(event):
                    if where(value):
                        return value
                await self._news.wait()

    async def ask(
        self, event: Inbound, reply: Outbound, *args: Any, timeout_s: float = PATIENCE_S
    ) -> Any:
        """Send, and wait for a reply that comes after."""
        before = len(self.seen(reply))
        await self.send(event, *args)
        async with asyncio.timeout(timeout_s):
            while len(self.seen(reply)) == before:
                self._news.clear()
                await self._news.wait()
        return self.seen(reply)[before]

    def forget(self) -> None:
        self.events.clear()

    async def settled(self) -> None:
        """Everything sent so far has been handled: its answer would be here."""
        if self.kind is DeviceType.TABLET:
            await self.ask(catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION)
        else:
            with contextlib.suppress(socketio.exceptions.TimeoutError):
                await self.socket.call("sync-barrier", timeout=5)

    async def cut(self) -> None:
        """Lose the connection without a goodbye."""
        eio = self.socket.eio
        if eio.current_transport == "websocket":
            eio.ws._response.connection.transport.abort()
        else:
            await eio.http.connector.close()


@contextlib.asynccontextmanager
async def headset(server: Server, device_id: str = "", **options: Any) -> AsyncIterator[Client]:
    """An identified headset."""
    async with Client(server, DeviceType.HEADSET, device_id, **options) as client:
        await client.ask(
            catalogue.HEADSET_IDENTIFY, catalogue.ON_HEADSET_CONNECTED, client.identity
        )
        yield client


def tablet(server: Server, identity: str = "", **options: Any) -> Client:
    return Client(server, DeviceType.TABLET, identity, **options)


def dashboard(server: Server, identity: str = "", **options: Any) -> Client:
    return Client(server, DeviceType.DASHBOARD, identity, **options)
