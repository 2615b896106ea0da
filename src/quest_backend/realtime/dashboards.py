"""Dashboards: the whole fleet once, then every change."""

from quest_backend.protocol import catalogue
from quest_backend.realtime.connections import DASHBOARDS, Connection
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub


class Dashboards:
    """The snapshot and the updates since are always the fleet as it is now."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @handles(catalogue.DASHBOARD_SUBSCRIBE)
    async def subscribe(self, connection: Connection) -> None:
        """The whole fleet, then changes."""
        # What gathered is older than the snapshot, and goes to those who are here already.
        self._hub.dashboards.flush()
        # No await between the two: an update in between would be lost or come too early.
        self._hub.connections.join(connection, DASHBOARDS)
        self._hub.outbox.send(
            connection, catalogue.ON_FLEET_STATUS_UPDATED, self._hub.view.snapshot()
        )

    @handles(catalogue.DASHBOARD_UNSUBSCRIBE)
    async def unsubscribe(self, connection: Connection) -> None:
        """No further changes."""
        self._hub.connections.leave(connection, DASHBOARDS)


def snapshot_to_all(hub: Hub) -> None:
    """Devices left the fleet, which no update can say."""
    # What waits may be of a device that is no more: it goes first.
    hub.dashboards.flush()
    hub.outbox.send(
        hub.connections.room(DASHBOARDS),
        catalogue.ON_FLEET_STATUS_UPDATED,
        hub.view.snapshot(),
    )
