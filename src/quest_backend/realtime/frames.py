"""The preview: newest frame of each headset to its viewers. See ``fleet/frames.py`` for the pace.

The seam of the hot path: everything between a frame's arrival and its viewers' queues is here.
"""

import asyncio
from dataclasses import dataclass, field

from quest_backend.fleet.frames import FramePacer
from quest_backend.protocol import catalogue
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.outbox import encode
from quest_backend.realtime.recording import identified


@dataclass(slots=True)
class _Stream:
    pacer: FramePacer
    frame: str = ""
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
    async def receive(self, connection: Connection, data: str) -> None:
        """Take a frame, and send it as soon as the pace allows."""
        device_id = identified(connection)
        stream = self._streams.get(device_id)
        if stream is None:
            stream = _Stream(FramePacer(self._throttle_s, self._interval_s))
            self._streams[device_id] = stream
        now = self._hub.clock.monotonic()
        if not stream.pacer.offer(now):
            self._dropped.inc()
            return
        room = self._hub.connections.room(device_room(device_id))
        if len(room) <= 1:
            # Nobody but the headset itself: it costs nothing beyond reading it.
            stream.pacer.gathered = 0
            stream.frame = ""
            return
        if stream.frame:
            self._dropped.inc()
        stream.frame, stream.source = data, connection
        if stream.timer is not None:
            return
        wait = stream.pacer.wait_s(now)
        if wait <= 0:
            self._send(device_id, stream)
        else:
            loop = asyncio.get_running_loop()
            stream.timer = loop.call_later(wait, self._send, device_id, stream)

    def _send(self, device_id: str, stream: _Stream) -> None:
        stream.timer = None
        hub = self._hub
        frame, stream.frame = stream.frame, ""
        if not frame:
            return
        viewers = []
        for connection in hub.connections.room(device_room(device_id)):
            if connection is stream.source:
                continue
            if hub.outbox.backlog(connection) > hub.settings.max_frame_batch_size:
                self._dropped.inc()
            else:
                viewers.append(connection)
        hub.metrics.frame_batch_size.observe(stream.pacer.sent(hub.clock.monotonic()))
        hub.outbox.send_encoded(
            viewers,
            catalogue.ON_HEADSET_FRAME_UPDATED,
            encode(catalogue.ON_HEADSET_FRAME_UPDATED, frame),
        )

    def forget(self, device_id: str) -> None:
        """The headset is gone."""
        stream = self._streams.pop(device_id, None)
        if stream is not None and stream.timer is not None:
            stream.timer.cancel()
