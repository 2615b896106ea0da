"""A picture a second of the headsets that a fleet page shows, without locks or rooms."""

from collections import defaultdict

from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.protocol.limits import MAX_WATCHED_DEVICES
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.frame_packets import Frame
from quest_backend.realtime.gateway import Refused, handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.relay import Relay

_INTERVAL_S = 1.0


class Thumbnails:
    """Who wants a picture of which headset, and when the next one is due.

    Asked for every frame of the fleet, so a headset that nobody watches costs one dictionary miss.
    """

    def __init__(self, hub: Hub, relay: Relay) -> None:
        self._hub = hub
        self._relay = relay
        self._elsewhere: set[str] = set()
        self._watchers: defaultdict[str, set[Connection]] = defaultdict(set)
        self._watched: dict[Connection, frozenset[str]] = {}
        self._due: dict[str, float] = {}

    @handles(catalogue.DASHBOARD_WATCH)
    def watch(self, connection: Connection, device_ids: list[str]) -> None:
        """Take the place of what this client watched so far; an empty list ends it."""
        if len(device_ids) > MAX_WATCHED_DEVICES:
            raise Refused(
                ErrorCode.INVALID_INPUT, f"deviceIds: at most {MAX_WATCHED_DEVICES} at a time"
            )
        self.forget(connection)
        wanted = frozenset(device_ids)
        if not wanted:
            return
        self._watched[connection] = wanted
        for device_id in wanted:
            self._watchers[device_id].add(connection)
            # Whoever scrolls to it sees it at once.
            self._due[device_id] = 0.0
            self._relay.interest(device_id)

    def forget(self, connection: Connection) -> None:
        """The client watches nothing any more."""
        for device_id in self._watched.pop(connection, ()):
            watchers = self._watchers[device_id]
            watchers.discard(connection)
            if not watchers:
                del self._watchers[device_id]
                self._no_longer(device_id)
                self._relay.interest(device_id)

    def watches(self, device_id: str) -> bool:
        """Whether a client of this node shows it."""
        return device_id in self._watchers

    def wanted_elsewhere(self, device_ids: set[str]) -> None:
        """What fleet pages of other nodes show, of this node's headsets."""
        before, self._elsewhere = self._elsewhere, device_ids
        for device_id in device_ids - before:
            self._due[device_id] = 0.0
        for device_id in before - device_ids:
            self._no_longer(device_id)

    def _no_longer(self, device_id: str) -> None:
        if device_id not in self._watchers and device_id not in self._elsewhere:
            self._due.pop(device_id, None)

    def wants(self, device_id: str, now: float) -> bool:
        """Whether a picture of this headset is due. ``now`` is monotonic seconds."""
        due = self._due.get(device_id)
        return due is not None and now >= due

    def send(self, device_id: str, frame: Frame, now: float) -> None:
        """Send a picture to those who watch; in the headset's room they have it already."""
        packet = frame.v2(device_id)
        if packet is None:
            return
        self._due[device_id] = now + _INTERVAL_S
        room = self._hub.connections.room(device_room(device_id))
        if device_id in self._elsewhere:
            self._relay.preview(device_id, frame)
        for viewer in self._watchers.get(device_id, ()):
            if viewer in room:
                continue
            # A client that is behind gets the newest only.
            viewer.client.session.send(packet, (self, device_id))
            self._hub.metrics.frames.sent_v2 += 1
