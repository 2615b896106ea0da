"""One Engine.IO session: heartbeat, and a bounded way out over whichever transport it has.

A message is either reliable or, with a ``key``, droppable: of several that wait under one key only
the newest is kept. A client that reads too slowly loses droppable messages first; when reliable
ones pile up, or nothing has left for long, it loses the connection.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from quest_backend.sockets.packets import Outgoing
from quest_backend.sockets.passing import Passed

log = structlog.get_logger()

# Reliable messages wait in the transport up to here, then in the session.
SOFT_BYTES = 256 * 1024
# When more than this waits there, the client is cut off. What the transport has does not count: one
# large answer on its way is no fault of the client.
HARD_BYTES = 4 * 1024 * 1024
# So is a client to whom nothing could be sent for this long.
STUCK_S = 20.0
# How soon a client that was behind is tried again, and how much it gets at once.
_RETRY_S = 0.01
_GULP_BYTES = 64 * 1024

TOO_SLOW = "too slow"

_PING = Outgoing(b"2")
_PONG = Outgoing(b"3")


class Link(Protocol):
    """A session's transport."""

    # Whether the session has to ask again when this link can take more.
    needs_retry: bool

    def write(self, packets: Sequence[Outgoing]) -> None:
        """Send in order, or buffer."""

    def offer(self, packet: Outgoing) -> bool:
        """Send, unless ``busy``; whether it was sent."""

    def write_frames(self, frames: bytes) -> bool:
        """Send WebSocket frames as they are; False where there are none."""

    def backlog_bytes(self) -> int:
        """What is buffered here."""

    def busy(self) -> bool:
        """Whether earlier messages are still on their way out of this machine."""

    def pause_reading(self) -> None:
        """Take no more from the client."""

    def resume_reading(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close after what is buffered has left."""

    def abort(self) -> None:
        """Close at once."""


class Application(Protocol):
    """What is spoken over sessions. Nothing here may block or raise."""

    def opened(self, session: "Session", query: str) -> None:
        """A client has opened a session; ``query`` is that of its URL."""

    def received(self, session: "Session", packet: bytes) -> None:
        """A message packet, with Engine.IO's leading ``4``. Not checked to be UTF-8."""

    def received_binary(self, session: "Session", data: bytes) -> None:
        """A binary message."""

    def malformed(self, session: "Session", problem: str) -> None:
        """Something that is no Engine.IO packet."""

    def closed(self, session: "Session", reason: str) -> None:
        """The session is over."""


class Batch:
    """Droppable messages that gathered, for many sessions: joined once."""

    __slots__ = ("_frames", "items")

    def __init__(self, items: Sequence[tuple[object, Outgoing]]) -> None:
        self.items = items
        self._frames: bytes | None = None

    @property
    def frames(self) -> bytes:
        """All of them as WebSocket frames."""
        if self._frames is None:
            self._frames = b"".join([packet.frames for _, packet in self.items])
        return self._frames


class Session:
    """Made by ``EngineServer``. ``state`` is the application's."""

    __slots__ = (
        "_application", "_heard", "_interval_s", "_moved_at", "_pinged", "_retry", "_timeout_s",
        "_timer", "_waiting", "_waiting_bytes", "closed", "id", "link", "loop", "state", "tap",
    )  # fmt: skip

    def __init__(
        self,
        application: Application,
        link: Link,
        loop: asyncio.AbstractEventLoop,
        *,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        self.id = secrets.token_urlsafe(15)
        self.link = link
        self.loop = loop
        self.closed = False
        self.state: Any = None
        # Sees every text message first; True when it took it.
        self.tap: Callable[[bytes | Passed], bool] | None = None
        self._application = application
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._waiting: dict[object, Outgoing] = {}
        self._waiting_bytes = 0
        self._moved_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._heard = 0
        self._pinged = False
        self._timer = loop.call_later(interval_s, self._ping)

    # -- out ---------------------------------------------------------------------------------------

    def send(self, packet: Outgoing, key: object = None) -> bool:
        """Send, or keep until the client has read more. Without ``key`` nothing is dropped.

        Whether an older message of the same ``key`` was dropped for it.
        """
        if self.closed:
            return False
        link = self.link
        if not self._waiting:
            if key is not None:
                if link.offer(packet):
                    return False
            elif link.backlog_bytes() <= SOFT_BYTES:
                link.write((packet,))
                return False
            self._moved_at = self.loop.time()
        dropped = key in self._waiting
        if key is None:
            if self._waiting_bytes > HARD_BYTES:
                self._cut_off()
                return False
            key = _Reliable()
            self._waiting_bytes += packet.size
        elif dropped and self._waiting_bytes:
            # What is newer than a reliable message that waits must not overtake it. Otherwise it
            # keeps its place: at the end of the queue, all but the first would never have a turn.
            del self._waiting[key]
        self._waiting[key] = packet
        if self._retry is None and link.needs_retry:
            self._retry = self.loop.call_later(_RETRY_S, self._try_again)
        return dropped

    def send_batch(self, batch: Batch) -> None:
        """Send droppable messages together."""
        if self.closed:
            return
        if not self._waiting and not self.link.busy() and self.link.write_frames(batch.frames):
            return
        for key, packet in batch.items:
            self.send(packet, key)

    def take_waiting(self) -> list[Outgoing]:
        """Everything that waits, for a transport that is about to send it."""
        packets = list(self._waiting.values())
        self._waiting.clear()
        self._waiting_bytes = 0
        return packets

    def flush(self) -> None:
        """Send what waits, as far as the client keeps up."""
        waiting, link = self._waiting, self.link
        gulp: list[Outgoing] = []
        size = 0
        if waiting and not self.closed and not link.busy():
            while waiting and (size < _GULP_BYTES or not gulp):
                key = next(iter(waiting))
                packet = waiting.pop(key)
                if isinstance(key, _Reliable):
                    self._waiting_bytes -= packet.size
                gulp.append(packet)
                size += packet.size
            self._moved_at = self.loop.time()
            link.write(gulp)

    def _try_again(self) -> None:
        self._retry = None
        self.flush()
        if self._waiting and not self.closed:
            self._retry = self.loop.call_later(_RETRY_S, self._try_again)

    def _cut_off(self) -> None:
        self.link.abort()
        self.close(TOO_SLOW)

    # -- in ----------------------------------------------------------------------------------------

    def received(self, data: bytes | Passed, text: bool) -> None:
        """A message of the transport."""
        if self.closed:
            return
        self._heard += 1
        if self.tap is not None and text:
            try:
                if self.tap(data):
                    return
            except Exception:  # a door's bug ends this one packet only
                log.exception("packet_failed", session=self.id)
                return
        if isinstance(data, Passed):
            data = data.packet
        if not text:
            self._application.received_binary(self, data)
        elif data.startswith(b"4"):
            self._application.received(self, data)
        else:
            self._control(data[:1])

    def _control(self, kind: bytes) -> None:
        if kind == b"3":
            # Pongs that nobody asked for must not put off the ping, and with it the bound in time.
            if self._pinged:
                self._pinged = False
                self._timer.cancel()
                self._timer = self.loop.call_later(self._interval_s, self._ping)
        elif kind == b"1":
            self.link.close()
            self.close("client closed")
        elif kind == b"2":  # v3 clients ping; answering costs nothing
            self.link.write((_PONG,))
        elif kind not in (b"0", b"5", b"6"):
            self._application.malformed(self, "not an Engine.IO packet")

    def close(self, reason: str, *, hang_up: bool = True) -> None:
        """End the session; the application hears ``reason``."""
        if self.closed:
            return
        self.closed = True
        self._timer.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._waiting.clear()
        if hang_up:
            self.link.close()
        self._application.closed(self, reason)

    # -- heartbeat ---------------------------------------------------------------------------------

    def _ping(self) -> None:
        if self._waiting and self.loop.time() - self._moved_at > STUCK_S:
            self._cut_off()
            return
        # Past whatever waits: a client that hears no ping leaves.
        self.link.write((_PING,))
        self._pinged = True
        self._timer = self.loop.call_later(self._timeout_s, self._expect, self._heard)

    def _expect(self, heard: int) -> None:
        if self._heard == heard:
            self.close("ping timeout")
        else:
            # No pong, but it sends: a pong can be behind a megabyte of video on a weak link.
            self._ping()


class _Reliable:
    """A key of its own for each reliable message."""

    __slots__ = ()
