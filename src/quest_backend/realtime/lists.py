"""The lists that every client gets, joined so that a thousand changes are a few messages.

1,000 headsets that come back within a second would otherwise cost 1,000 lists to 1,000 clients.
"""

import asyncio

from quest_backend.clock import Clock
from quest_backend.fleet.devices import FleetView
from quest_backend.fleet.lists import pause_s
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import Outbound
from quest_backend.realtime.connections import Connection, Connections
from quest_backend.realtime.outbox import Outbox, encode
from quest_backend.sockets.packets import Outgoing

# The first change goes out almost at once, with what follows on its heels.
_JOIN_S = 0.02


class ListBroadcaster:
    """Sends the three lists on a change, at most a few times a second."""

    def __init__(
        self, view: FleetView, connections: Connections, outbox: Outbox, clock: Clock
    ) -> None:
        self._view = view
        self._connections = connections
        self._outbox = outbox
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._packets: list[tuple[Outbound, Outgoing]] = []
        self._encoded_version = -1
        self._encode_again_at = 0.0

    def changed(self) -> None:
        """The view's lists changed."""
        if self._timer is None:
            delay = max(_JOIN_S, self._not_before - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._broadcast)

    def greet(self, connection: Connection) -> None:
        """Send the current lists to one client."""
        for event, packet in self._encoded(fresh=False):
            self._outbox.send_encoded(connection, event, packet, _key(event))

    def close(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _broadcast(self) -> None:
        self._timer = None
        clients = list(self._connections.by_sid.values())
        size = 0
        for event, packet in self._encoded(fresh=True):
            size += packet.size
            self._outbox.send_encoded(clients, event, packet, _key(event))
        self._not_before = self._clock.monotonic() + pause_s(size, len(clients))

    def _encoded(self, *, fresh: bool) -> list[tuple[Outbound, Outgoing]]:
        started = self._clock.monotonic()
        if self._encoded_version == self._view.version:
            return self._packets
        # Greeting a storm of clients may spend a twentieth of the time on encoding;
        # the joined broadcast follows with what the slightly older list lacks.
        if not fresh and started < self._encode_again_at:
            return self._packets
        online = [device.device_id for device in self._view.online()]
        self._packets = [
            (event, encode(event, rows))
            for event, rows in (
                (catalogue.ON_HEADSETS_UPDATED, online),
                (catalogue.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED, self._view.headset_list()),
                (catalogue.ON_DEVICE_LOCKS_UPDATED, self._view.lock_list()),
            )
        ]
        self._encoded_version = self._view.version
        ended = self._clock.monotonic()
        self._encode_again_at = ended + 20 * (ended - started)
        return self._packets


def _key(event: Outbound) -> object:
    # Telemetry waits under its device's id, and a device may be named like an event.
    return (event.name,)
