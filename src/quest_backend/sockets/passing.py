"""Messages that are passed on unread: an event whose one argument is a JSON string.

They go out as they came but for the event's name. ``fast_reader.pyx`` makes them while it reads;
here is the same, later and slower, for messages that came in another way. Nothing here does I/O.
"""

from dataclasses import dataclass

import numpy as np

from quest_backend.sockets.websocket import header

_SIGNED = np.dtype(np.int8)
_END = b'"]'


@dataclass(frozen=True, slots=True)
class Passing:
    """Which they are: what they begin with, up to the string's opening quote, and go out with.

    ``max_bytes`` bounds what is inside of the quotes.
    """

    came: bytes
    goes: bytes
    max_bytes: int

    def take(self, packet: bytes) -> "Passed | None":
        """``packet``, if it begins and ends like one of them and has the size of one."""
        first = len(self.came)
        if (
            packet.startswith(self.came)
            and packet.endswith(_END)
            and first < len(packet) - len(_END) <= first + self.max_bytes
        ):
            return Passed(self, packet)
        return None

    def passed(self, frames: bytes, rest_at: int, is_plain: bool) -> "Passed":
        """One that ``FastReader`` read and checked."""
        return Passed(self, None, frames, rest_at, is_plain)


class Passed:
    """One of them: what came, what goes out and whether it may. Each is made when it is needed."""

    __slots__ = ("_frames", "_is_plain", "_packet", "_passing", "_rest_at")

    def __init__(
        self,
        passing: Passing,
        packet: bytes | None = None,
        frames: bytes | None = None,
        rest_at: int = 0,
        is_plain: bool | None = None,
    ) -> None:
        """From ``packet`` or from ``frames``, in which what follows the name is at ``rest_at``."""
        self._passing = passing
        self._packet = packet
        self._frames = frames
        self._rest_at = rest_at
        self._is_plain = is_plain

    @property
    def is_plain(self) -> bool:
        """Whether it is exactly one JSON string without escapes, in ASCII: it may go out unread.

        It is what a JSON decoder would say it is. Anything else, valid or not, is for the decoder.
        """
        if self._is_plain is None:
            self._is_plain = _is_plain(self.packet, len(self._passing.came))
        return self._is_plain

    @property
    def packet(self) -> bytes:
        """As it came."""
        if self._packet is None:
            self._packet = self._passing.came + self.rest
        return self._packet

    @property
    def rest(self) -> memoryview:
        """What follows the opening quote: the string, its closing quote and ``]``."""
        if self._frames is not None:
            return memoryview(self._frames)[self._rest_at :]
        return memoryview(self.packet)[len(self._passing.came) :]

    @property
    def text(self) -> tuple[bytes, memoryview]:
        """As it goes out, in parts."""
        return self._passing.goes, self.rest

    @property
    def frames(self) -> bytes:
        """As it goes out, as a WebSocket frame of a server."""
        if self._frames is None:
            goes, rest = self.text
            head = header(1, len(goes) + len(rest)) + goes
            self._frames = b"".join((head, rest))
            self._rest_at = len(head)
        return self._frames


def _is_plain(packet: bytes, first: int) -> bool:
    end = len(packet) - len(_END)
    # No quote can end the string early, no backslash can escape the last one.
    return (
        packet.find(b'"', first, end) < 0
        and packet.find(b"\\", first, end) < 0
        # RFC 8259, 7: control characters must be escaped. As signed numbers, bytes beyond ASCII
        # are negative, so the least of them tells of both. (``argmin`` because it is the shortest
        # way through numpy: ``min`` takes twice as long when the processor's caches are cold.)
        and 0x20 <= packet[np.frombuffer(packet, _SIGNED).argmin()] < 0x80
    )
