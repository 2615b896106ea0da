"""One frame on the wire, in both forms: base64 text as the schema has it, and binary."""

import base64
import struct

import numpy as np

from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import MAX_FRAME_BYTES
from quest_backend.realtime.outbox import encode
from quest_backend.sockets.packets import Outgoing

RAW_PREFIX = b'42["%s",' % catalogue.HEADSET_FRAME.name.encode()
_OUT_PREFIX = b'42["%s",' % catalogue.ON_HEADSET_FRAME_UPDATED.name.encode()
_BEGINNING = RAW_PREFIX + b'"'
_FIRST = len(_BEGINNING)
# Form, number, arrival in Unix seconds.
_HEAD = struct.Struct(">BQd")
_PACKET, _JPEG, _TEXT = 1, 2, 3
_SIGNED = np.dtype(np.int8)


def may_be_frame(packet: bytes) -> bool:
    """Whether ``packet`` begins and ends like a frame, and has the size of one."""
    return (
        packet.startswith(_BEGINNING)
        and packet.endswith(b'"]')
        and _FIRST < len(packet) - 2 <= _FIRST + MAX_FRAME_BYTES
    )


def is_plain_string(packet: bytes) -> bool:
    """Whether ``packet`` is ``RAW_PREFIX``, one JSON string of a frame's size without escapes, `]`.

    Such a packet is what a JSON decoder would say it is, so it can be passed on unread. Anything
    else, valid or not, is for the decoder.
    """
    return may_be_frame(packet) and is_plain(packet)


def is_plain(packet: bytes) -> bool:
    """The rest of ``is_plain_string``, for a packet that ``may_be_frame``."""
    end = len(packet) - 2
    # No quote can end the string early, no backslash can escape the last one.
    return (
        packet.find(b'"', _FIRST, end) < 0
        and packet.find(b"\\", _FIRST, end) < 0
        # RFC 8259, 7: control characters must be escaped. As signed numbers, bytes beyond ASCII
        # are negative, so the least of them tells of both. (``argmin`` because it is the shortest
        # way through numpy: ``min`` takes twice as long when the processor's caches are cold.)
        and 0x20 <= packet[np.frombuffer(packet, _SIGNED).argmin()] < 0x80
    )


class Frame:
    """One picture in the form it came in; the other form is made when somebody needs it.

    ``came`` is a packet for which ``is_plain_string`` holds, decoded text, or JPEG bytes.
    """

    __slots__ = ("_came", "_legacy", "_packet", "_v2", "arrived_at", "seq")

    def __init__(
        self, seq: int, arrived_at: float, *, packet: bytes = b"", came: str | bytes = b""
    ) -> None:
        self.seq = seq
        self.arrived_at = arrived_at  # Unix seconds
        self._packet = packet
        self._came = came
        self._legacy: Outgoing | None = None
        self._v2: Outgoing | None = None

    def legacy(self) -> Outgoing:
        """For clients of the schema: ``on-headset-frame-updated (base64)``."""
        if self._legacy is None:
            if self._packet:
                rest = memoryview(self._packet)[_FIRST - 1 :]
                self._legacy = Outgoing(_OUT_PREFIX, rest)
            elif isinstance(self._came, bytes):
                self._legacy = Outgoing(_OUT_PREFIX, b'"', base64.b64encode(self._came), b'"]')
            else:
                self._legacy = encode(catalogue.ON_HEADSET_FRAME_UPDATED, self._came)
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

    def to_parts(self) -> tuple[bytes, bytes]:
        """For another node: a head, and the picture in the form it came in."""
        form, body = self._form()
        return _HEAD.pack(form, self.seq, self.arrived_at), body

    def _form(self) -> tuple[int, bytes]:
        if self._packet:
            return _PACKET, self._packet
        if isinstance(self._came, bytes):
            return _JPEG, self._came
        return _TEXT, self._came.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Frame | None":
        """What ``to_parts`` made on another node; None of a form that only later versions have."""
        if len(data) < _HEAD.size:
            return None
        form, seq, arrived_at = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if form == _PACKET:
            return cls(seq, arrived_at, packet=body)
        if form in (_JPEG, _TEXT):
            return cls(seq, arrived_at, came=body if form == _JPEG else body.decode())
        return None

    def _jpeg_bytes(self) -> bytes:
        if self._packet:
            return _decoded(self._packet[_FIRST:-2].decode())
        return self._came if isinstance(self._came, bytes) else _decoded(self._came)


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
