"""One frame on the wire, in both forms: base64 text as the schema has it, and binary."""

import base64
import struct

from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import MAX_FRAME_BYTES
from quest_backend.realtime.outbox import encode
from quest_backend.sockets.packets import Outgoing
from quest_backend.sockets.passing import Passed, Passing

# Frames as text that go out unread.
PASSING = Passing(
    came=b'42["%s","' % catalogue.HEADSET_FRAME.name.encode(),
    goes=b'42["%s","' % catalogue.ON_HEADSET_FRAME_UPDATED.name.encode(),
    max_bytes=MAX_FRAME_BYTES,
)
# Form, number, arrival in Unix seconds.
_HEAD = struct.Struct(">BQd")
_PACKET, _JPEG, _TEXT = 1, 2, 3


class Frame:
    """One picture in the form it came in; the other form is made when somebody needs it.

    ``came`` is a packet that may go out unread, decoded text, or JPEG bytes.
    """

    __slots__ = ("_came", "_legacy", "_v2", "arrived_at", "seq")

    def __init__(self, seq: int, arrived_at: float, came: Passed | str | bytes) -> None:
        self.seq = seq
        self.arrived_at = arrived_at  # Unix seconds
        self._came = came
        self._legacy: Outgoing | None = None
        self._v2: Outgoing | None = None

    def legacy(self) -> Outgoing:
        """For clients of the schema: ``on-headset-frame-updated (base64)``."""
        if self._legacy is None:
            came = self._came
            if isinstance(came, Passed):
                self._legacy = Outgoing(*came.text, frames=came.frames)
            elif isinstance(came, bytes):
                self._legacy = Outgoing(PASSING.goes, base64.b64encode(came), b'"]')
            else:
                self._legacy = encode(catalogue.ON_HEADSET_FRAME_UPDATED, came)
        return self._legacy

    def v2(self, device_id: str) -> Outgoing | None:
        """``on-headset-frame (deviceId, seq, sentAtMs, jpeg)``; None when it is no base64."""
        if self._v2 is None:
            jpeg = self._jpeg_bytes()
            if not jpeg:
                return None
            sent_at_ms = int(self.arrived_at * 1000)
            self._v2 = encode(catalogue.ON_HEADSET_FRAME, device_id, self.seq, sent_at_ms, jpeg)
        return self._v2

    def to_parts(self) -> tuple[bytes | memoryview, ...]:
        """For another node: a head, and the picture in the form it came in."""
        came = self._came
        if isinstance(came, Passed):
            return self._head(_PACKET), PASSING.came, came.rest
        if isinstance(came, bytes):
            return self._head(_JPEG), came
        return self._head(_TEXT), came.encode()

    def _head(self, form: int) -> bytes:
        return _HEAD.pack(form, self.seq, self.arrived_at)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Frame | None":
        """What ``to_parts`` made on another node; None of a form that only later versions have."""
        if len(data) < _HEAD.size:
            return None
        form, seq, arrived_at = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if form == _PACKET:
            passed = PASSING.take(body)
            return None if passed is None else cls(seq, arrived_at, passed)
        if form in (_JPEG, _TEXT):
            return cls(seq, arrived_at, body if form == _JPEG else body.decode())
        return None

    def _jpeg_bytes(self) -> bytes:
        came = self._came
        if isinstance(came, Passed):
            return _decoded(bytes(came.rest[:-2]).decode())
        return came if isinstance(came, bytes) else _decoded(came)


def _decoded(text: str) -> bytes:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):  # RFC 2397
            return b""
    # Some encoders break lines, as MIME has it (RFC 2045, 6.8).
    text = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
