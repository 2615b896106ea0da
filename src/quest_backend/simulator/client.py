"""A simulated device: its token, its connection, its way back after a loss."""

import asyncio
import contextlib
import itertools
import random
from typing import Any

import aiohttp
import socketio
from socketio.exceptions import SocketIOError

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound, Outbound

_TIMEOUT_S = 10.0
_TRIES = 30


class SimulatorError(Exception):
    """The run cannot go on; the message says what to do."""


class RequestFailed(Exception):  # noqa: N818 - an outcome that a report shows
    """A request was refused, not answered in time, or cut off; the message says which."""


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
        self._away_s = 0.0
        self._returning: asyncio.Task[None] | None = None
        self.socket: socketio.AsyncClient = socketio.AsyncClient(
            # Else it takes Ctrl-C from the command and stops the loop under it.
            reconnection=False, handle_sigint=False
        )  # fmt: skip
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
        """Open the connection and do what a device does first on it.

        Raises:
            SocketIOError, TimeoutError, aiohttp.ClientError: no connection.
            RequestFailed: connected, but refused or not answered; it is closed again.
        """
        async with asyncio.timeout(_TIMEOUT_S):
            await self.socket.connect(
                self.url,
                auth={"token": self._token},
                transports=self._transports,
                wait_timeout=_TIMEOUT_S,
            )
        try:
            await self.on_connected()
        except RequestFailed:
            await self._close()
            raise

    async def on_connected(self) -> None:
        """What a device does first on a new connection."""

    async def on_event(self, name: str, args: tuple[Any, ...]) -> None:
        """What a device does on an event."""

    async def _on_event(self, name: str, *args: Any) -> None:
        self.received[name] = self.received.get(name, 0) + 1
        if name == catalogue.ERROR.name:
            self.errors.append(args[0] if args else None)
        for waiter in self._waiters.pop(name, []):
            if not waiter.done():
                waiter.set_result(args[0] if args else None)
        await self.on_event(name, args)

    async def _on_disconnect(self, *_: Any) -> None:
        for waiter in [one for waiters in self._waiters.values() for one in waiters]:
            if not waiter.done():
                waiter.set_exception(RequestFailed(f"{self.device_id}: the connection was lost"))
        self._waiters.clear()
        if not self._stopped and (self._returning is None or self._returning.done()):
            self._returning = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        away_s, self._away_s = self._away_s, 0.0
        await asyncio.sleep(away_s)
        for attempt in itertools.count():  # a device never gives up
            pause_s = min(2.0, 0.1 * 2 ** min(attempt, 5))
            await asyncio.sleep(pause_s * random.uniform(0.3, 1))  # noqa: S311 - jitter
            if self._stopped:
                return
            # The client forgets its old connection a moment after telling of its end.
            with contextlib.suppress(
                SocketIOError, TimeoutError, ValueError, aiohttp.ClientError, RequestFailed
            ):
                await self.connect()
                self.reconnects += 1
                return

    async def send(self, event: Inbound, *args: Any) -> None:
        """Send an event; lost when the connection is down, as on a real device."""
        with contextlib.suppress(SocketIOError):
            await self.socket.emit(event.name, args if len(args) != 1 else args[0])

    def _waits_for(self, event: Outbound) -> "asyncio.Future[Any]":
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(event.name, []).append(waiter)
        return waiter

    async def ask(self, event: Inbound, reply: Outbound, *args: Any, timeout_s: float = 5.0) -> Any:
        """Send ``event``; the first argument of the ``reply`` that comes after.

        Raises:
            RequestFailed: refused, no reply in ``timeout_s`` seconds, or the connection was lost.
        """
        refusal = event.failure or catalogue.ERROR
        # Some are answered and refused by one event.
        answers = {one.name: self._waits_for(one) for one in dict.fromkeys((reply, refusal))}
        try:
            await self.send(event, *args)
            done, _ = await asyncio.wait(
                answers.values(), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise RequestFailed(
                    f"{self.device_id}: no {reply.name} in {timeout_s:g} s after {event.name}"
                )
            first = answers[reply.name] if answers[reply.name] in done else done.pop()
            value = await first
            if first is not answers[reply.name]:
                raise RequestFailed(f"{self.device_id}: {event.name} was refused: {value}")
            return value
        finally:
            for name, answer in answers.items():
                if answer in self._waiters.get(name, []):
                    self._waiters[name].remove(answer)
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # seen; else asyncio complains of the second of two

    async def cut(self, away_s: float = 0.0) -> None:
        """Lose the connection without a goodbye, as Wi-Fi does, for ``away_s`` seconds."""
        eio = self.socket.eio
        if not self.connected:
            return
        self._away_s = away_s
        if eio.current_transport == "websocket":
            response = eio.ws._response  # noqa: SLF001 - no goodbye on purpose
            if response.connection is not None:
                response.connection.transport.abort()
        elif eio.http is not None:
            # Port 1 answers nobody: a request that is still queued must not get through.
            eio.base_url = "http://127.0.0.1:1/?"
            await eio.http.close()

    async def stop(self) -> None:
        """Leave for good."""
        self._stopped = True
        if self._returning is not None:
            self._returning.cancel()
        await self._close()

    async def _close(self) -> None:
        with contextlib.suppress(SocketIOError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(3):
                await self.socket.disconnect()
        # A long poll may outlast the wait for a goodbye; its HTTP session must not.
        http = self.socket.eio.http
        if http is not None and not http.closed:
            await http.close()
