"""Messages to sockets: encoded once, put on each client's queue in order."""

from collections.abc import Iterable
from typing import Any

import orjson
from engineio.packet import MESSAGE, Packet

from quest_backend.metrics import Metrics
from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.protocol.events import Outbound
from quest_backend.realtime.connections import Connection


class Outbox:
    """The only way out. ``sockets`` are Engine.IO's, by their own ids."""

    def __init__(self, sockets: dict[str, Any], metrics: Metrics) -> None:
        self._sockets = sockets
        self._messages = metrics.socket_messages

    def send(self, to: Connection | Iterable[Connection], event: Outbound, *args: Any) -> int:
        """Send ``event``; to how many sockets it went."""
        return self.send_encoded(to, event, encode(event, *args))

    def send_encoded(
        self, to: Connection | Iterable[Connection], event: Outbound, packet: Packet
    ) -> int:
        """Send a packet of ``encode``."""
        sent = 0
        for connection in (to,) if isinstance(to, Connection) else to:
            socket = self._sockets.get(connection.eio_sid)
            if socket is not None and not socket.closed:
                # The queue is unbounded, so this never waits; order is that of the calls.
                socket.queue.put_nowait(packet)
                sent += 1
        if sent:
            self._messages.labels(event.name, "out").inc(sent)
        return sent

    def refuse(self, to: Connection, code: ErrorCode, message: str) -> None:
        """Tell a client that its event was refused."""
        self.send(to, catalogue.ERROR, {"code": code.value, "message": message})

    def acknowledge(self, to: Connection, ack_id: int, reply: Any) -> None:
        """Answer a message that asked for an acknowledgement."""
        body = orjson.dumps([] if reply is None else [reply]).decode()
        socket = self._sockets.get(to.eio_sid)
        if socket is not None and not socket.closed:
            socket.queue.put_nowait(Packet(MESSAGE, f"3{ack_id}{body}"))

    def backlog(self, to: Connection) -> int:
        """Messages that wait for this client."""
        socket = self._sockets.get(to.eio_sid)
        return socket.queue.qsize() if socket is not None else 0


def encode(event: Outbound, *args: Any) -> Packet:
    """One packet that can go to any number of sockets."""
    return Packet(MESSAGE, "2" + orjson.dumps([event.name, *args]).decode())
