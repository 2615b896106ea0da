"""A simulated device: its token, its connection, its way back after a loss."""

import asyncio
import contextlib
import random
from typing import Any

import aiohttp
import socketio
from socketio.exceptions import SocketIOError

from quest_backend.protocol.events import DeviceType, Inbound, Outbound

_TIMEOUT_S = 10.0
_TRIES = 30


class SimulatorError(Exception):
    """The run cannot go on; the message says what to do."""


async def fetch_token(
    http: aiohttp.ClientSession,
    url: str,
    device_id: str,
    kind: DeviceType,
    enrollment_key: str | None = None,
) -> str:
    """A device token, waiting out a rate limit.

    Raises:
        SimulatorError: no server, or it gives no token.
    """
    headers = {"X-Enrollment-Key": enrollment_key} if enrollment_key else {}
    body = {"deviceId": device_id, "deviceType": str(kind)}
    for attempt in range(_TRIES):
        try:
            async with http.post(f"{url}/auth/device-token", json=body, headers=headers) as answer:
                reply = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            if attempt < 3:
                await asyncio.sleep(0.2 * random.uniform(0.5, 1))  # noqa: S311 - jitter
                continue
            raise SimulatorError(
                f"No server answers at {url} ({error}); start one with: quest-backend serve"
            ) from error
        if answer.status == 200:
            return str(reply["token"])
        if answer.status != 429:
            raise SimulatorError(f"No token for {device_id}: {reply.get('error', answer.status)}")
        await asyncio.sleep(float(reply.get("retryAfter", 1)) * random.uniform(1, 1.2))  # noqa: S311
    raise SimulatorError(f"No token for {device_id}: rate limited; raise RATE_LIMIT_MULTIPLIER")


class SimulatedClient:
    """An official Socket.IO client that comes back by itself, with its token kept."""

    kind: DeviceType

    def __init__(self, url: str, device_id: str, token: str, transports: list[str]) -> None:
        self.url = url
        self.device_id = device_id
        self.received: dict[str, int] = {}
        self.errors: list[Any] = []
        self.reconnects = 0
        self._token = token
        self._transports = transports
        self._waiters: dict[str, list[asyncio.Future[Any]]] = {}
        self._stopped = False
        self._returning: asyncio.Task[None] | None = None
        self.socket: socketio.AsyncClient = socketio.AsyncClient(reconnection=False)
        self.socket.on("*", self._on_event)
        self.socket.on("disconnect", self._on_disconnect)

    @property
    def connected(self) -> bool:
        """Whether the socket is open."""
        return bool(self.socket.connected)

    @property
    def sid(self) -> str:
        """The socket's id."""
        return str(self.socket.get_sid("/") or "")

    async def connect(self) -> None:
        """Open the connection. Raises ``SocketIOError`` or ``TimeoutError``."""
        async with asyncio.timeout(_TIMEOUT_S):
            await self.socket.connect(
                self.url,
                auth={"token": self._token},
                transports=self._transports,
                wait_timeout=_TIMEOUT_S,
            )
        await self.on_connected()

    async def on_connected(self) -> None:
        """What a device does first on a new connection."""

    async def on_event(self, name: str, args: tuple[Any, ...]) -> None:
        """What a device does on an event."""

    async def _on_event(self, name: str, *args: Any) -> None:
        self.received[name] = self.received.get(name, 0) + 1
        if name == "error":
            self.errors.append(args[0] if args else None)
        for waiter in self._waiters.pop(name, []):
            if not waiter.done():
                waiter.set_result(args[0] if args else None)
        await self.on_event(name, args)

    async def _on_disconnect(self, *_: Any) -> None:
        if not self._stopped and (self._returning is None or self._returning.done()):
            self._returning = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        for attempt in range(_TRIES):
            await asyncio.sleep(min(2.0, 0.1 * 2**attempt) * random.uniform(0.3, 1))  # noqa: S311
            if self._stopped:
                return
            # The client forgets its old connection a moment after telling of its end.
            with contextlib.suppress(SocketIOError, TimeoutError, ValueError, aiohttp.ClientError):
                await self.connect()
                self.reconnects += 1
                return

    async def send(self, event: Inbound, *args: Any) -> None:
        """Send an event; lost when the connection is down, as on a real device."""
        with contextlib.suppress(SocketIOError):
            await self.socket.emit(event.name, args if len(args) != 1 else args[0])

    def waits_for(self, event: Outbound) -> "asyncio.Future[Any]":
        """The first argument of the next ``event``. Ask before sending what leads to it."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(event.name, []).append(waiter)
        return waiter

    async def ask(self, event: Inbound, reply: Outbound, *args: Any, timeout_s: float = 5.0) -> Any:
        """Send ``event`` and wait for ``reply``; raises ``TimeoutError``."""
        waiter = self.waits_for(reply)
        await self.send(event, *args)
        async with asyncio.timeout(timeout_s):
            return await waiter

    async def cut(self) -> None:
        """Lose the connection without a goodbye, as Wi-Fi does."""
        eio = self.socket.eio
        with contextlib.suppress(Exception):
            transport = eio.ws._response.connection.transport  # noqa: SLF001 - no goodbye on purpose
            transport.abort()

    async def stop(self) -> None:
        """Leave for good."""
        self._stopped = True
        if self._returning is not None:
            self._returning.cancel()
        with contextlib.suppress(SocketIOError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(3):
                await self.socket.disconnect()
