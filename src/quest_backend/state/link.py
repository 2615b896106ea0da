"""One kept connection to Valkey for pub/sub: RESP commands out, replies in, no task per message.

redis-py takes several awaits and copies for each message; everything but frames goes through it.
See ``make bench-nodes``.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

import hiredis
import structlog

from quest_backend.state.primary import Primary

log = structlog.get_logger()

_PING_S = 2.0
# So long without a word, answers to pings included, and the connection is given up.
_SILENCE_S = 6.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 2.0
# What the kernel does not take waits here; then callers are told to hold back.
_BUFFER_BYTES = 1024 * 1024


def command(*parts: bytes) -> bytes:
    """A RESP command."""
    items = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), items)


_PING = command(b"PING")


class LinkRefused(Exception):  # noqa: N818 - the server's answer
    """Valkey answered with an error."""


class _Wire(asyncio.Protocol):
    def __init__(self, reply: Callable[[Any], None], resumed: Callable[[], None]) -> None:
        self._reply = reply
        self._resumed = resumed
        self._parser = hiredis.Reader()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever waits for it hears of it; when nobody does any more, nobody has to.
        self.lost.add_done_callback(lambda lost: lost.cancelled() or lost.exception())
        self.paused = False
        self.heard = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._parser.feed(data)
        while (reply := self._parser.gets()) is not False:
            if isinstance(reply, hiredis.HiredisError):
                self.fail(LinkRefused(str(reply)))
                return
            self._reply(reply)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(exc or ConnectionResetError("closed by the state store"))

    def fail(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)


class Link:
    """Connected again whenever it is lost. Writing to one that is not ready does nothing.

    ``opened`` may write; ``reply`` gets every answer and message; ``resumed``: it is ready again.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        *,
        opened: Callable[[], None],
        reply: Callable[[Any], None],
        resumed: Callable[[], None],
    ) -> None:
        self._primary = Primary(url, timeout_s)
        self._timeout_s = timeout_s
        self._opened = opened
        self._reply = reply
        self._resumed = resumed
        self._wire: _Wire | None = None
        self._transport: asyncio.WriteTransport | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        # uvloop raises when something is written to one that has just been closed by the other end.
        return self._transport is not None and not self._transport.is_closing()

    @property
    def ready(self) -> bool:
        """Whether what is written leaves soon."""
        return self._wire is not None and not self._wire.paused and self.connected

    def write(self, parts: Iterable[bytes | memoryview]) -> None:
        """Send these bytes."""
        if self._transport is not None and self.connected:
            self._transport.writelines(parts)

    async def keep(self) -> None:
        """For ever: connect, and again when the connection is lost."""
        try:
            await self._keep()
        finally:
            await self._primary.close()

    async def _keep(self) -> None:
        pause = _RETRY_FIRST_S
        while True:
            try:
                await self._connect()
                pause = _RETRY_FIRST_S
                await self._until_lost()
            except (OSError, TimeoutError, LinkRefused) as error:
                self._primary.doubt()
                if pause == _RETRY_FIRST_S:
                    log.warning("bus_link_lost", reason=str(error))
            finally:
                self._close()
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause = min(_RETRY_CAP_S, pause * 2)

    async def _connect(self) -> None:
        options, loop = self._primary.options, asyncio.get_running_loop()

        def wire() -> _Wire:
            return _Wire(self._reply, self._resumed)

        async with asyncio.timeout(self._timeout_s):
            if "path" in options:
                pair = await loop.create_unix_connection(wire, options["path"])
            else:
                host, port = await self._primary.place()
                pair = await loop.create_connection(
                    wire, host, port, ssl=_tls(options) if self._primary.secure else None
                )
        self._transport, self._wire = cast(asyncio.WriteTransport, pair[0]), pair[1]
        password = options.get("password")
        if password:
            who = [part.encode() for part in (options.get("username"), password) if part]
            self.write([command(b"AUTH", *who)])
        self._opened()
        self._resumed()

    async def _until_lost(self) -> None:
        """Until the connection is lost, or nothing comes from it, answers to pings included."""
        wire, silent_s = self._wire, 0.0
        while wire is not None:
            wire.heard = False
            done, _ = await asyncio.wait([wire.lost], timeout=_PING_S)
            if done:
                await wire.lost
            silent_s = 0.0 if wire.heard else silent_s + _PING_S
            if silent_s >= _SILENCE_S:
                raise TimeoutError("nothing came from the state store")
            if silent_s:
                self.write([_PING])

    def _close(self) -> None:
        transport, self._transport, self._wire = self._transport, None, None
        if transport is not None:
            transport.abort()


def _tls(options: Any) -> ssl.SSLContext:
    """As redis-py reads it from a ``rediss://`` address."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
