"""The sockets that this node holds, who they are, and which rooms they are in."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from quest_backend.protocol.events import DeviceType
from quest_backend.realtime.rates import RateWindows
from quest_backend.sockets.socketio import Client

DASHBOARDS = "dashboards"
_DEVICE_ROOM = "device:"


def device_room(device_id: str) -> str:
    """The room of a device: its headset, and the tablets that locked or connected it."""
    return f"{_DEVICE_ROOM}{device_id}"


@dataclass(eq=False, slots=True)
class Connection:
    """One socket. ``identity`` is the token's device id, or stands for the socket itself."""

    client: Client
    identity: str
    device_type: DeviceType
    authenticated: bool
    opened_at: float
    rates: RateWindows
    frames_v2: bool = False  # it understands on-headset-frame
    device_id: str = ""  # of a headset, once it has identified
    watched: str = ""  # of a tablet: legacy pairing
    rooms: set[str] = field(default_factory=set)
    said_recording: bool | None = None  # what the headset last said of itself
    heard_recording: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sid(self) -> str:
        """The socket's id on the wire."""
        return self.client.sid


class Connections:
    """All sockets of this node."""

    def __init__(self) -> None:
        self.by_sid: dict[str, Connection] = {}
        self._rooms: defaultdict[str, set[Connection]] = defaultdict(set)
        self._headsets: dict[str, Connection] = {}
        # The newest socket here that said it is this headset, also when the store was away.
        self._claims: dict[str, Connection] = {}
        self._tablets: defaultdict[str, list[Connection]] = defaultdict(list)
        # Of tablets with sockets here and a newer one on another node: that one.
        self.leads: dict[str, str] = {}
        # Told when the members of a device's room change.
        self.room_changed: Callable[[str], None] | None = None

    def add(self, connection: Connection) -> None:
        """A socket opened."""
        self.by_sid[connection.sid] = connection
        if connection.device_type is DeviceType.TABLET:
            self._tablets[connection.identity].append(connection)

    def remove(self, connection: Connection) -> None:
        """A socket closed."""
        self.by_sid.pop(connection.sid, None)
        for room in list(connection.rooms):
            self.leave(connection, room)
        if self._headsets.get(connection.device_id) is connection:
            del self._headsets[connection.device_id]
        if self._claims.get(connection.identity) is connection:
            del self._claims[connection.identity]
        if connection in self._tablets.get(connection.identity, ()):
            self._tablets[connection.identity].remove(connection)
            if not self._tablets[connection.identity]:
                del self._tablets[connection.identity]
                self.leads.pop(connection.identity, None)

    def claim(self, connection: Connection) -> None:
        """``connection`` says it is its headset, which may not be known in the store yet."""
        self._claims[connection.identity] = connection

    def claims(self) -> dict[str, Connection]:
        """Who here says to be which headset."""
        return dict(self._claims)

    def claimant(self, device_id: str) -> Connection | None:
        """The socket that says it is this headset."""
        return self._claims.get(device_id)

    def identify(self, connection: Connection, device_id: str) -> Connection | None:
        """``connection`` is now this headset; the connection it takes over from, if any."""
        old = self._headsets.get(device_id)
        self._headsets[device_id] = connection
        connection.device_id = device_id
        self.join(connection, device_room(device_id))
        if old is None or old is connection:
            return None
        self._no_more(old, device_id)
        return old

    def release(self, connection: Connection) -> None:
        """The headset of this connection is another connection, on another node.

        For as long as that one is there: this one goes on to claim it.
        """
        device_id = connection.device_id
        del self._headsets[device_id]
        self._no_more(connection, device_id)

    def _no_more(self, connection: Connection, device_id: str) -> None:
        connection.device_id = ""
        self.leave(connection, device_room(device_id))

    def headset(self, device_id: str) -> Connection | None:
        """The socket of an identified headset."""
        return self._headsets.get(device_id)

    def headsets(self) -> list[str]:
        """Ids of the headsets that identified here."""
        return list(self._headsets)

    def tablets(self) -> list[str]:
        """Identities of the tablets that have a socket here."""
        return list(self._tablets)

    def tablet(self, identity: str) -> list[Connection]:
        """A tablet's sockets, oldest first; the last one leads."""
        return list(self._tablets.get(identity, ()))

    def lead_sid(self, connection: Connection) -> str:
        """The socket id that this tablet's locks and sessions carry."""
        elsewhere = self.leads.get(connection.identity)
        if elsewhere is not None:
            return elsewhere
        tablets = self._tablets.get(connection.identity)
        return tablets[-1].sid if tablets else connection.sid

    def join(self, connection: Connection, room: str) -> None:
        """Put a socket into a room."""
        self._rooms[room].add(connection)
        connection.rooms.add(room)
        self._changed(room)

    def _changed(self, room: str) -> None:
        if self.room_changed is not None and room.startswith(_DEVICE_ROOM):
            self.room_changed(room.removeprefix(_DEVICE_ROOM))

    def leave(self, connection: Connection, room: str) -> None:
        """Take a socket out of a room."""
        connection.rooms.discard(room)
        members = self._rooms.get(room)
        if members is not None:
            members.discard(connection)
            if not members:
                del self._rooms[room]
            self._changed(room)

    def room(self, room: str) -> frozenset[Connection] | set[Connection]:
        """The sockets in a room. Read it at once: it is live."""
        return self._rooms.get(room, frozenset())

    def watch(self, identity: str, device_id: str) -> None:
        """Put all sockets of a tablet into the room of a device it holds."""
        for connection in self._tablets.get(identity, ()):
            self.join(connection, device_room(device_id))

    def unwatch(self, identity: str, device_id: str) -> None:
        """Take a tablet out of a device's room, unless it is paired with it."""
        for connection in self._tablets.get(identity, ()):
            if connection.watched != device_id:
                self.leave(connection, device_room(device_id))

    def count_by_type(self) -> dict[str, int]:
        """Open sockets per device type; identified ones only for headsets."""
        counts = dict.fromkeys((str(kind) for kind in DeviceType), 0)
        for connection in self.by_sid.values():
            if connection.device_type is not DeviceType.HEADSET or connection.device_id:
                counts[connection.device_type] += 1
        return counts
