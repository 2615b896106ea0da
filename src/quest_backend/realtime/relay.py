"""Frames, status and telemetry between nodes: only what somebody elsewhere watches crosses.

A node tells the one that has a headset that it watches, and listens on the headset's channel;
the other publishes each frame once, however many nodes listen. A headset that nobody elsewhere
watches costs one look into a set per frame.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import orjson
import structlog

from quest_backend.protocol.catalogue import OUTBOUND
from quest_backend.protocol.events import Outbound
from quest_backend.realtime.connections import device_room
from quest_backend.realtime.frame_packets import Frame
from quest_backend.realtime.hub import Hub
from quest_backend.state.bus import Bus
from quest_backend.state.changes import Message
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

_FRAMES, _PREVIEW, _TELEMETRY = b"frames", b"preview", b"telemetry"
# A tablet that locks fifty headsets tells of them at once.
_JOIN_S = 0.005
# Telemetry of many headsets crosses in one message.
_TELEMETRY_JOIN_S = 0.05
_EVENT = b"E"
Deliver = Callable[[str, Frame], None]


def _channel(device_id: str, mode: str) -> bytes:
    """Where a headset's frames, or its pictures for fleet pages, are published."""
    return (_FRAMES if mode == "frames" else _PREVIEW) + b":" + device_id.encode()


class Previews(Protocol):
    """Which headsets fleet pages show."""

    def watches(self, device_id: str) -> bool:
        """Whether a client of this node shows it."""

    def wanted_elsewhere(self, device_ids: set[str]) -> None:
        """What fleet pages of other nodes show, of this node's headsets."""


class Relay:
    """One node's part in both directions."""

    def __init__(self, hub: Hub, bus: Bus) -> None:
        self._hub = hub
        self._bus = bus
        self._me = hub.nodes.node_id
        self._deliver: dict[bytes, Deliver] = {}
        self._previews: Previews | None = None
        # Of this node's headsets: whose frames other nodes watch. Looked at for every frame.
        self.frames_wanted: set[str] = set()
        self._watchers: dict[str, tuple[dict[str, str], float]] = {}
        # Of other nodes' headsets: what this node watches, and what their nodes were told.
        self._watched: dict[str, str] = {}
        self._told: dict[str, dict[str, str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._telling = asyncio.Lock()
        self._peers: frozenset[str] = frozenset()
        self._telemetry: dict[str, tuple[str, dict[str, Any]]] = {}
        self._telemetry_timer: asyncio.TimerHandle | None = None

    def start(self, frames: Deliver, pictures: Deliver, previews: Previews) -> None:
        """Hear what the others publish; frames, and pictures for fleet pages, go to these."""
        self._deliver = {_FRAMES: frames, _PREVIEW: pictures}
        self._previews = previews
        self._hub.connections.room_changed = self.interest
        self._bus.start(self._received)

    async def stop(self) -> None:
        """Neither publish nor hear any more."""
        for timer in (self._timer, self._telemetry_timer):
            if timer is not None:
                timer.cancel()
        await self._bus.stop()

    @property
    def nodes(self) -> int:
        """How many servers there are, with this one."""
        return len(self._peers) + 1

    # -- This node's headsets, watched elsewhere ---------------------------------------------------

    def frame(self, device_id: str, frame: Frame) -> None:
        """Publish a frame that somebody elsewhere watches."""
        self._bus.newest(_FRAMES + b":" + device_id.encode(), *frame.to_parts())

    def preview(self, device_id: str, frame: Frame) -> None:
        """Publish a picture that a fleet page elsewhere shows."""
        self._bus.newest(_PREVIEW + b":" + device_id.encode(), *frame.to_parts())

    def event(self, device_id: str, event: Outbound, *args: Any) -> None:
        """Publish what a headset's room hears, if somebody elsewhere is in it."""
        if device_id in self.frames_wanted:
            payload = _EVENT + orjson.dumps([event.name, *args])
            self._bus.message(_FRAMES + b":" + device_id.encode(), payload)

    def telemetry(self, device_id: str, at: str, telemetry: dict[str, Any]) -> None:
        """Publish telemetry, the newest of each headset, a few times a second."""
        if not self._peers:
            return
        self._telemetry[device_id] = (at, telemetry)
        if self._telemetry_timer is None:
            loop = asyncio.get_running_loop()
            self._telemetry_timer = loop.call_later(_TELEMETRY_JOIN_S, self._publish_telemetry)

    def _publish_telemetry(self) -> None:
        self._telemetry_timer = None
        batch, self._telemetry = self._telemetry, {}
        self._bus.message(_TELEMETRY + b":" + self._me.encode(), orjson.dumps(batch))

    def told(self, message: Message) -> None:
        """Another node says which of this node's headsets it watches: all of them."""
        expires = self._hub.clock.monotonic() + 2 * self._hub.nodes.timeout_s
        before, _ = self._watchers.get(message["n"], ({}, 0.0))
        self._watchers[message["n"]] = (message["d"], expires)
        self._sum_up()
        for device_id, mode in message["d"].items():
            if before.get(device_id) != mode:
                self._bus.reckon_one(_channel(device_id, mode))

    def _sum_up(self) -> None:
        now = self._hub.clock.monotonic()
        self._watchers = {n: w for n, w in self._watchers.items() if w[1] > now and w[0]}
        modes = [pair for watched, _ in self._watchers.values() for pair in watched.items()]
        self.frames_wanted = {device_id for device_id, mode in modes if mode == "frames"}
        if self._previews is not None:
            self._previews.wanted_elsewhere({d for d, mode in modes if mode == "preview"})

    # -- Other nodes' headsets, watched here -------------------------------------------------------

    def interest(self, device_id: str) -> None:
        """Who watches this headset, or where it is, changed: tell its node soon."""
        mode = self._mode(device_id)
        if mode:
            self._watched[device_id] = mode
        elif self._watched.pop(device_id, None) is None:
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_JOIN_S, self._tell_soon)

    def _mode(self, device_id: str) -> str:
        connections = self._hub.connections
        if connections.headset(device_id) is not None:
            return ""
        if connections.room(device_room(device_id)):
            return "frames"
        shown = self._previews is not None and self._previews.watches(device_id)
        return "preview" if shown else ""

    def _tell_soon(self) -> None:
        self._timer = None
        self._hub.spawn(self._tell())

    async def _tell(self, *, again: bool = False) -> None:
        async with self._telling:
            wanted: dict[str, dict[str, str]] = {node: {} for node in self._told}
            for device_id, mode in self._watched.items():
                device = self._hub.view.devices.get(device_id)
                if device is not None and device.is_online and device.node_id != self._me:
                    wanted.setdefault(device.node_id, {})[device_id] = mode
            # Listen first: what is published then is heard.
            self._subscribe()
            news = {n: w for n, w in wanted.items() if again or self._told.get(n) != w}
            try:
                await self._hub.changes.post((n, {"k": "watch", "d": w}) for n, w in news.items())
            except StoreUnavailable as error:
                log.warning("watching_not_told", reason=str(error))
                return
            self._told = {node: watched for node, watched in wanted.items() if watched}

    def _subscribe(self) -> None:
        channels = {_TELEMETRY + b":" + peer.encode() for peer in self._peers}
        for device_id, mode in self._watched.items():
            channels.add(_channel(device_id, mode))
        self._bus.subscribe(frozenset(channels))

    async def beat(self, alive: frozenset[str]) -> None:
        """These nodes are alive. What they and this one watch is said again."""
        self._peers = alive - {self._me}
        self._sum_up()
        self._bus.reckon()
        await self._tell(again=True)

    def met(self, node_id: str) -> None:
        """A node has started."""
        if node_id != self._me:
            self._peers |= {node_id}
            self._hub.spawn(self._tell())

    # -- What others publish -----------------------------------------------------------------------

    def _received(self, channel: bytes, payload: bytes) -> None:
        kind, _, name = channel.partition(b":")
        try:
            if kind == _TELEMETRY:
                self._telemetry_came(payload)
            elif payload[:1] == _EVENT:
                self._event_came(name.decode(), payload)
            elif kind in self._deliver:
                frame = Frame.from_bytes(payload)
                if frame is not None:
                    self._deliver[kind](name.decode(), frame)
        except Exception as error:  # one message of another version ends nothing
            log.warning("bus_message_left", channel=channel.decode(), exc_info=error)

    def _event_came(self, device_id: str, payload: bytes) -> None:
        name, *args = orjson.loads(payload[1:])
        event = OUTBOUND.get(name)
        hub = self._hub
        if event is not None and hub.connections.headset(device_id) is None:
            hub.outbox.send(hub.connections.room(device_room(device_id)), event, *args)

    def _telemetry_came(self, payload: bytes) -> None:
        hub = self._hub
        for device_id, (at, telemetry) in orjson.loads(payload).items():
            known = hub.view.devices.get(device_id)
            # A headset that is here by now speaks for itself.
            if known is not None and hub.connections.headset(device_id) is None:
                hub.seen(device_id, at, telemetry)
