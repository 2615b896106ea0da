"""The preview: newest frame of each headset to its viewers. See ``fleet/frames.py`` for the pace.

The hot path: everything between a frame's arrival and its viewers' sockets is here, in
``frame_packets.py`` and in ``sockets/``. A frame that comes as text goes out as it came, when its
JSON string is checked to be exactly one: while it is read where ``sockets/fast_reader.pyx`` was
compiled, otherwise when it is its turn, since most of what a headset sends is replaced by a newer
frame before that.
``make bench-relay`` measures what it costs beside the kernel's copies.
"""

import asyncio
import sys
from dataclasses import dataclass

import structlog

from quest_backend.fleet.frames import FramePacer
from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.frame_packets import PASSING, Frame
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import identified
from quest_backend.realtime.relay import Relay
from quest_backend.realtime.thumbnails import Thumbnails
from quest_backend.sockets.packets import Malformed, Outgoing, read
from quest_backend.sockets.passing import Passed
from quest_backend.sockets.socketio import Tap

log = structlog.get_logger()

# Frames whose boundary lies in the same few milliseconds, a turn, leave together at its start: by
# the first frame that comes after it or else by a timer. The path is warm for all but the first.
_TURN_S = FramePacer.SLACK_S
_NEVER = sys.maxsize


@dataclass(slots=True, eq=False)  # itself the key under which a frame of it waits
class _Stream:
    """A headset's preview. ``came`` is the newest frame: a packet, decoded text, or JPEG."""

    device_id: str
    room: str
    pacer: FramePacer
    seq: int = 0
    came: Passed | str | bytes | None = None
    came_at: float = 0.0
    source: Connection | None = None
    is_due: bool = False


class Frames:
    """One slot per headset, latest wins; a viewer that is behind skips."""

    def __init__(self, hub: Hub, thumbnails: Thumbnails, relay: Relay) -> None:
        self._hub = hub
        self._connections = hub.connections
        self._clock = hub.clock
        self._counts = hub.metrics.frames
        self._thumbnails = thumbnails
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._streams: dict[str, _Stream] = {}
        self._due: dict[int, list[_Stream]] = {}
        self._next_turn = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._throttle_s = hub.settings.frame_throttle_ms / 1000
        self._interval_s = hub.settings.frame_batch_interval_ms / 1000

    # -- in ----------------------------------------------------------------------------------------

    @handles(catalogue.HEADSET_FRAME)
    def receive(self, connection: Connection, data: str | bytes) -> None:
        """Take a frame that was decoded: text, or JPEG in binary."""
        identified(connection)
        self._offer(connection, self._clock.monotonic(), data)

    def tap(self, connection: Connection) -> Tap:
        """What takes one headset's frames as they come, within its rate."""
        event = catalogue.HEADSET_FRAME
        name, rate, allow = event.name, event.rate, connection.rates.allow
        monotonic, counts, offer = self._clock.monotonic, self._counts, self._offer
        gathering, loop = self._hub.gathering, self._loop

        def take(packet: bytes | Passed) -> bool:
            frame = packet if isinstance(packet, Passed) else PASSING.take(packet)
            if frame is None or not connection.device_id:
                return False
            if not gathering.armed:
                gathering.arm(loop)
            now = monotonic()
            if allow(name, rate, now):
                counts.received += 1
                offer(connection, now, frame)
            else:
                self._hub.metrics.refused_events.labels(name, "rate").inc()
            return True

        return take

    def _offer(self, connection: Connection, now: float, came: Passed | str | bytes) -> None:
        stream = self._streams.get(connection.device_id)
        if stream is None:
            stream = self._open(connection.device_id)
        pacer = stream.pacer
        if not pacer.offer(now):
            self._counts.dropped += 1
            return
        stream.seq += 1
        if not (
            len(self._connections.room(stream.room)) > 1  # by others than the headset itself
            or stream.device_id in self._relay.frames_wanted
            or self._thumbnails.wants(stream.device_id, now)
        ):
            # It costs nothing beyond reading it.
            pacer.gathered = 0
            stream.came = None
            return
        if stream.came is not None:
            self._counts.dropped += 1
        stream.came, stream.came_at, stream.source = came, now, connection
        if now >= pacer.due_at:
            self._send(stream, now)
        elif not stream.is_due:
            self._send_later(stream, now)
        if now >= self._next_turn * _TURN_S:
            self._send_due(now)

    def _open(self, device_id: str) -> _Stream:
        pacer = FramePacer(self._throttle_s, self._interval_s)
        self._streams[device_id] = stream = _Stream(device_id, device_room(device_id), pacer)
        return stream

    def forget(self, device_id: str) -> None:
        """The headset is gone."""
        stream = self._streams.pop(device_id, None)
        if stream is not None:
            stream.came = None

    # -- out ---------------------------------------------------------------------------------------

    def _send_later(self, stream: _Stream, now: float) -> None:
        stream.is_due = True
        turn = int(stream.pacer.due_at / _TURN_S)
        due = self._due.get(turn)
        if due is not None:
            due.append(stream)
            return
        self._due[turn] = [stream]
        if turn < self._next_turn:
            self._wait_for(turn, now)

    def _wait_for(self, turn: int, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next_turn = turn
        if turn != _NEVER:
            wait = max(0.0, turn * _TURN_S - now)
            self._timer = self._loop.call_later(wait, self._send_in_time)

    def _send_in_time(self) -> None:
        # The event loop's timers know no fractions of a millisecond.
        self._send_due(max(self._clock.monotonic(), self._next_turn * _TURN_S))

    def _send_due(self, now: float) -> None:
        due = self._due
        while self._next_turn * _TURN_S <= now:
            streams = due.pop(self._next_turn)
            self._next_turn = min(due, default=_NEVER)
            for stream in streams:
                stream.is_due = False
                try:
                    self._send(stream, now)
                except Exception:  # one headset's fault must not stop the others' previews
                    log.exception("frame_failed", device_id=stream.device_id)
        self._wait_for(self._next_turn, now)

    def _send(self, stream: _Stream, now: float) -> None:
        frame = self._frame(stream, now)
        if frame is None:
            return
        self._show(stream, frame, stream.source)
        if stream.device_id in self._relay.frames_wanted:
            self._relay.frame(stream.device_id, frame)
        if self._thumbnails.wants(stream.device_id, now):
            self._thumbnails.send(stream.device_id, frame, now)
        self._counts.gathered(stream.pacer.sent(now))

    def _show(self, stream: _Stream, frame: Frame, source: Connection | None) -> None:
        counts = self._counts
        legacy: Outgoing | None = None
        for viewer in self._connections.room(stream.room):
            if viewer is source:
                continue
            packet = legacy
            if viewer.frames_v2:
                packet = frame.v2(stream.device_id)
            elif packet is None:
                packet = legacy = frame.legacy()
            # A viewer that is behind keeps one frame per headset: this one takes the place of
            # the one that waited.
            if packet is None or viewer.client.session.send(packet, stream):
                counts.dropped += 1
            elif viewer.frames_v2:
                counts.sent_v2 += 1
            else:
                counts.sent += 1

    # -- From other nodes --------------------------------------------------------------------------

    def from_elsewhere(self, device_id: str, frame: Frame) -> None:
        """Show a frame of a headset on another node, which has checked and paced it."""
        if self._connections.headset(device_id) is not None:
            return  # it is here by now
        stream = self._streams.get(device_id)
        if stream is None:
            stream = self._open(device_id)
        stream.seq = frame.seq  # goes on from there when the headset comes here
        now = self._clock.monotonic()
        self._show(stream, frame, None)
        if self._thumbnails.wants(device_id, now):
            self._thumbnails.send(device_id, frame, now)

    def picture_from_elsewhere(self, device_id: str, frame: Frame) -> None:
        """Show a picture of a headset on another node to fleet pages."""
        self._thumbnails.send(device_id, frame, self._clock.monotonic())

    # -- Reading -----------------------------------------------------------------------------------

    def _frame(self, stream: _Stream, now: float) -> Frame | None:
        """The frame whose turn it is; None when there is none, or it turned out to be no frame."""
        came, stream.came = stream.came, None
        if came is None:
            return None
        at = self._clock.unix_s() - (now - stream.came_at)
        if isinstance(came, Passed) and not came.is_plain:
            came = self._decoded(stream, came.packet)
        return None if came is None else Frame(stream.seq, at, came)

    def _decoded(self, stream: _Stream, packet: bytes) -> str | bytes | None:
        """What a packet with escapes or faults carries; its sender hears of the faults."""
        event = catalogue.HEADSET_FRAME
        try:
            (frame,) = event.parse(read(packet[1:]).data[1:])
        except (Malformed, InvalidPayload) as error:
            code = getattr(error, "code", ErrorCode.INVALID_INPUT)
            self._hub.metrics.refused_events.labels(event.name, code.value.lower()).inc()
            if stream.source is not None:
                self._hub.outbox.refuse(stream.source, code, str(error))
            return None
        came: str | bytes = frame
        return came
