"""The preview: newest frame of each headset to its viewers. See ``fleet/frames.py`` for the pace.

The hot path: everything between a frame's arrival and its viewers' sockets is here, in
``frame_packets.py`` and in ``sockets/``. A frame that comes as text is not decoded: its JSON
string, checked to be exactly one, goes out as it came in.
Budget: 15 µs per delivered frame beside the kernel's copies; ``make bench-relay`` measures it.
"""

import asyncio
from dataclasses import dataclass, field

import orjson

from quest_backend.fleet.frames import FramePacer
from quest_backend.protocol import catalogue
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.frame_packets import Frame, raw_literal
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import identified


@dataclass(slots=True, eq=False)  # itself the key under which a frame of it waits
class _Stream:
    device_id: str
    pacer: FramePacer
    frame: Frame | None = None
    seq: int = 0
    source: Connection | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Frames:
    """One slot per headset, latest wins; a viewer that is behind skips."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: dict[str, _Stream] = {}
        self._throttle_s = hub.settings.frame_throttle_ms / 1000
        self._interval_s = hub.settings.frame_batch_interval_ms / 1000
        self._dropped = hub.metrics.frames_dropped

    @handles(catalogue.HEADSET_FRAME)
    def receive(self, connection: Connection, data: str | bytes) -> None:
        """Take a frame that was decoded."""
        if isinstance(data, bytes):
            self._offer(connection, b"", data)
        else:
            self._offer(connection, orjson.dumps(data) + b"]", None)

    def receive_raw(self, connection: Connection, packet: bytes) -> None:
        """Take a frame for which ``is_plain_string`` holds."""
        self._offer(connection, raw_literal(packet), None)

    def _offer(self, connection: Connection, literal: bytes, jpeg: bytes | None) -> None:
        hub = self._hub
        device_id = identified(connection)
        stream = self._streams.get(device_id)
        if stream is None:
            stream = _Stream(device_id, FramePacer(self._throttle_s, self._interval_s))
            self._streams[device_id] = stream
        now = hub.clock.monotonic()
        if not stream.pacer.offer(now):
            self._dropped.inc()
            return
        stream.seq += 1
        if len(hub.connections.room(device_room(device_id))) <= 1:
            # Nobody but the headset itself: it costs nothing beyond reading it.
            stream.pacer.gathered = 0
            stream.frame = None
            return
        if stream.frame is not None:
            self._dropped.inc()
        stream.frame = Frame(device_id, stream.seq, hub.clock.unix_ms(), literal, jpeg)
        stream.source = connection
        if stream.timer is not None:
            return
        wait = stream.pacer.wait_s(now)
        if wait <= 0:
            self._send(stream)
        else:
            stream.timer = asyncio.get_running_loop().call_later(wait, self._send, stream)

    def _send(self, stream: _Stream) -> None:
        stream.timer = None
        frame, stream.frame = stream.frame, None
        if frame is None:
            return
        hub = self._hub
        sent = sent_v2 = 0
        for viewer in hub.connections.room(device_room(stream.device_id)):
            if viewer is stream.source:
                continue
            packet = frame.v2() if viewer.frames_v2 else frame.legacy()
            if packet is None:
                self._dropped.inc()
                continue
            # Behind: it waits alone, and the next one takes its place.
            if viewer.client.session.send(packet, stream):
                self._dropped.inc()
            elif viewer.frames_v2:
                sent_v2 += 1
            else:
                sent += 1
        hub.metrics.frame_batch_size.observe(stream.pacer.sent(hub.clock.monotonic()))
        hub.outbox.count(catalogue.ON_HEADSET_FRAME_UPDATED, sent)
        hub.outbox.count(catalogue.ON_HEADSET_FRAME, sent_v2)

    def forget(self, device_id: str) -> None:
        """The headset is gone."""
        stream = self._streams.pop(device_id, None)
        if stream is not None and stream.timer is not None:
            stream.timer.cancel()
