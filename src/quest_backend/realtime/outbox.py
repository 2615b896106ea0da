"""Messages to sockets: encoded once, sent in order, droppable ones joined."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from quest_backend.metrics import Metrics
from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.protocol.events import Outbound
from quest_backend.realtime.connections import Connection
from quest_backend.sockets import packets
from quest_backend.sockets.packets import Outgoing
from quest_backend.sockets.session import Batch

# What comes within this time of the last message of a feed leaves with the next one.
_JOIN_S = 0.005


def encode(event: Outbound, *args: Any) -> Outgoing:
    """One packet that can go to any number of sockets."""
    return packets.event(event.name, *args)


class Outbox:
    """The only way out."""

    def __init__(self, metrics: Metrics) -> None:
        self._messages = metrics.socket_messages
        self._counters: dict[str, Any] = {}

    def send(self, to: Connection | Iterable[Connection], event: Outbound, *args: Any) -> int:
        """Send ``event``; to how many sockets it went."""
        return self.send_encoded(to, event, encode(event, *args))

    def send_encoded(
        self,
        to: Connection | Iterable[Connection],
        event: Outbound,
        packet: Outgoing,
        key: object = None,
    ) -> int:
        """Send a packet of ``encode``. With a ``key``, a client that is behind gets the newest."""
        sent = 0
        for connection in (to,) if isinstance(to, Connection) else to:
            connection.client.session.send(packet, key)
            sent += 1
        self.count(event, sent)
        return sent

    def count(self, event: Outbound, sent: int) -> None:
        """Note messages that went out."""
        if sent:
            counter = self._counters.get(event.name)
            if counter is None:
                counter = self._messages.labels(event.name, "out")
                self._counters[event.name] = counter
            counter.inc(sent)

    def refuse(self, to: Connection, code: ErrorCode, message: str) -> None:
        """Tell a client that its event was refused."""
        self.send(to, catalogue.ERROR, {"code": code.value, "message": message})

    def acknowledge(self, to: Connection, ack_id: int, reply: Any) -> None:
        """Answer a message that asked for an acknowledgement."""
        args = [] if reply is None else [reply]
        to.client.session.send(packets.acknowledgement(ack_id, args))


class Feed:
    """Droppable messages for a room, joined into one write per client when many come at once.

    The first leaves with what arrived in the same turn of the event loop, what follows within a few
    milliseconds together: 400 headsets' telemetry costs each dashboard 200 writes a second, not
    4,000.
    """

    def __init__(
        self, outbox: Outbox, event: Outbound, room: Callable[[], Iterable[Connection]]
    ) -> None:
        self._outbox = outbox
        self._event = event
        self._room = room
        self._gathered: list[tuple[object, Outgoing]] = []
        self._timer: asyncio.Handle | None = None
        self._left_at = 0.0

    def send(self, key: object, *args: Any) -> None:
        """Send soon. A client that is behind gets only the newest of a ``key``."""
        self._gathered.append((key, encode(self._event, *args)))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = self._left_at + _JOIN_S - loop.time()
            if wait <= 0:
                self._timer = loop.call_soon(self.flush)
            else:
                self._timer = loop.call_later(wait, self.flush)

    def flush(self) -> None:
        """Send now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._gathered:
            return
        batch, self._gathered = Batch(self._gathered), []
        sent = 0
        for connection in self._room():
            connection.client.session.send_batch(batch)
            sent += len(batch.items)
        self._outbox.count(self._event, sent)
        self._left_at = asyncio.get_running_loop().time()
