"""One frame on the wire, in both forms: base64 text as the schema has it, and binary."""

import base64
import binascii
from dataclasses import dataclass

import numpy as np
import orjson

from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import MAX_FRAME_BYTES
from quest_backend.realtime.outbox import encode
from quest_backend.sockets.packets import Outgoing

RAW_PREFIX = b'42["%s",' % catalogue.HEADSET_FRAME.name.encode()
_OUT_PREFIX = b'42["%s",' % catalogue.ON_HEADSET_FRAME_UPDATED.name.encode()
_FIRST = len(RAW_PREFIX) + 1


def is_plain_string(packet: bytes) -> bool:
    """Whether ``packet`` is ``RAW_PREFIX``, one JSON string of a frame's size without escapes, `]`.

    Such a packet is what a JSON decoder would say it is, so it can be passed on unread. Anything
    else, valid or not, is for the decoder.
    """
    end = len(packet) - 2
    if not (
        _FIRST < end <= _FIRST + MAX_FRAME_BYTES
        and packet[_FIRST - 1] == 0x22
        and packet.endswith(b'"]')
    ):
        return False
    # No quote can end the string early, no backslash can escape the last one.
    return (
        packet.find(b'"', _FIRST, end) < 0
        and packet.find(b"\\", _FIRST, end) < 0
        and packet.isascii()
        # RFC 8259, 7: control characters must be escaped.
        and int(np.frombuffer(packet, np.uint8).min()) >= 0x20
    )


def raw_literal(packet: bytes) -> bytes:
    """The string of such a packet as JSON, with the packet's closing bracket."""
    return packet[_FIRST - 1 :]


@dataclass(slots=True)
class Frame:
    """One picture in the form it came in; the other form is made when somebody needs it."""

    device_id: str
    seq: int
    sent_at_ms: int
    literal: bytes = b""  # JSON, from the quote to the packet's closing bracket
    jpeg: bytes | None = None
    _legacy: Outgoing | None = None
    _v2: Outgoing | None = None

    def legacy(self) -> Outgoing:
        """For clients of the schema: ``on-headset-frame-updated (base64)``."""
        if self._legacy is None:
            literal = self.literal
            if self.jpeg is not None and not literal:
                literal = b'"' + base64.b64encode(self.jpeg) + b'"]'
            self._legacy = Outgoing(_OUT_PREFIX + literal)
        return self._legacy

    def v2(self) -> Outgoing | None:
        """``on-headset-frame (deviceId, seq, sentAtMs, jpeg)``; None when it is no base64."""
        if self._v2 is None:
            if self.jpeg is None:
                self.jpeg = _decoded(self.literal)
            if not self.jpeg:
                return None
            self._v2 = encode(
                catalogue.ON_HEADSET_FRAME, self.device_id, self.seq, self.sent_at_ms, self.jpeg
            )
        return self._v2


def _decoded(literal: bytes) -> bytes:
    text: str = orjson.loads(literal[:-1])
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):  # RFC 2397
            return b""
    # Some encoders break lines, as MIME has it (RFC 2045, 6.8).
    text = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
