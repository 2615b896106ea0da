"""The preview: newest frame of each headset to its viewers. See ``fleet/frames.py`` for the pace.

The hot path: everything between a frame's arrival and its viewers' sockets is here, in
``frame_packets.py`` and in ``sockets/``. A frame that comes as text is not decoded: its JSON
string, checked to be exactly one, goes out as it came in.
Budget: 15 µs per delivered frame beside the kernel's copies; ``make bench-relay`` measures it.
"""

import asyncio
from dataclasses import dataclass, field

from quest_backend.fleet.frames import FramePacer
from quest_backend.protocol import catalogue
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.frame_packets import Frame
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import identified
from quest_backend.realtime.relay import Relay
from quest_backend.realtime.thumbnails import Thumbnails


@dataclass(slots=True, eq=False)  # itself the key under which a frame of it waits
class _Stream:
    device_id: str
    room: str
    pacer: FramePacer
    frame: Frame | None = None
    seq: int = 0
    source: Connection | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Frames:
    """One slot per headset, latest wins; a viewer that is behind skips."""

    def __init__(self, hub: Hub, thumbnails: Thumbnails, relay: Relay) -> None:
        self._connections = hub.connections
        self._clock = hub.clock
        self._counts = hub.metrics.frames
        self._thumbnails = thumbnails
        self._relay = relay
        self._streams: dict[str, _Stream] = {}
        self._throttle_s = hub.settings.frame_throttle_ms / 1000
        self._interval_s = hub.settings.frame_batch_interval_ms / 1000

    @handles(catalogue.HEADSET_FRAME)
    def receive(self, connection: Connection, data: str | bytes) -> None:
        """Take a frame that was decoded: text, or JPEG in binary."""
        self._offer(connection, self._clock.monotonic(), b"", data)

    def receive_raw(self, connection: Connection, packet: bytes, now: float) -> None:
        """Take a packet for which ``is_plain_string`` holds."""
        self._offer(connection, now, packet, b"")

    def _offer(
        self, connection: Connection, now: float, packet: bytes, decoded: str | bytes
    ) -> None:
        device_id = connection.device_id or identified(connection)
        stream = self._streams.get(device_id)
        if stream is None:
            stream = self._streams[device_id] = self._new(device_id)
        pacer = stream.pacer
        if not pacer.offer(now):
            self._counts.dropped += 1
            return
        stream.seq += 1
        wanted = self._thumbnails.wants(device_id, now)
        watched = (
            len(self._connections.room(stream.room)) > 1  # by others than the headset itself
            or device_id in self._relay.frames_wanted
        )
        if wanted or watched:
            frame = Frame(stream.seq, self._clock.unix_s(), packet=packet, came=decoded)
        if wanted:
            self._thumbnails.send(device_id, frame, now)
        if not watched:
            # It costs nothing beyond reading it.
            pacer.gathered = 0
            stream.frame = None
            return
        if stream.frame is not None:
            self._counts.dropped += 1
        stream.frame, stream.source = frame, connection
        if stream.timer is None:
            wait = pacer.wait_s(now)
            if wait <= 0:
                self._send(stream, now)
            else:
                loop = asyncio.get_running_loop()
                stream.timer = loop.call_later(wait, self._boundary, stream)

    def _boundary(self, stream: _Stream) -> None:
        stream.timer = None
        self._send(stream, self._clock.monotonic())

    def _send(self, stream: _Stream, now: float) -> None:
        frame, stream.frame = stream.frame, None
        if frame is None:
            return
        self._show(stream, frame, stream.source)
        if stream.device_id in self._relay.frames_wanted:
            self._relay.frame(stream.device_id, frame)
        self._counts.gathered(stream.pacer.sent(now))

    def _show(self, stream: _Stream, frame: Frame, source: Connection | None) -> None:
        counts = self._counts
        for viewer in self._connections.room(stream.room):
            if viewer is source:
                continue
            packet = frame.v2(stream.device_id) if viewer.frames_v2 else frame.legacy()
            # A viewer that is behind keeps one frame per headset: this one takes the place of
            # the one that waited.
            if packet is None or viewer.client.session.send(packet, stream):
                counts.dropped += 1
            elif viewer.frames_v2:
                counts.sent_v2 += 1
            else:
                counts.sent += 1

    def from_elsewhere(self, device_id: str, frame: Frame) -> None:
        """Show a frame of a headset on another node, which has paced it."""
        if self._connections.headset(device_id) is not None:
            return  # it is here by now
        stream = self._streams.get(device_id)
        if stream is None:
            stream = self._streams[device_id] = self._new(device_id)
        now = self._clock.monotonic()
        if self._thumbnails.wants(device_id, now):
            self._thumbnails.send(device_id, frame, now)
        self._show(stream, frame, None)

    def preview_from_elsewhere(self, device_id: str, frame: Frame) -> None:
        """Show a picture of a headset on another node to fleet pages."""
        self._thumbnails.send(device_id, frame, self._clock.monotonic())

    def _new(self, device_id: str) -> _Stream:
        pacer = FramePacer(self._throttle_s, self._interval_s)
        return _Stream(device_id, device_room(device_id), pacer)

    def forget(self, device_id: str) -> None:
        """The headset is gone."""
        stream = self._streams.pop(device_id, None)
        if stream is not None and stream.timer is not None:
            stream.timer.cancel()
