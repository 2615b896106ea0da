"""The content of a zip member: fetched in pieces, inflated in a stream within a bound, checked."""

import zlib
from collections.abc import Iterable

from quest_backend.qa.problems import BadRecording, ProblemCode
from quest_backend.qa.ranges import Held, Reads, Span
from quest_backend.qa.zipfiles import DEFLATED, HEADER_BYTES, Member, data_span

# Bytes that no member needs are fetched when that saves a request: a request to S3 takes as long
# as about a megabyte.
_GAP_BYTES = 64 * 1024
# What is fetched ahead for all members together, and in one piece of a large one.
AHEAD_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024
_INFLATED_AT_ONCE = 256 * 1024


def _wanted(member: Member) -> Span:
    return Span(member.offset, min(member.reach, member.offset + HEADER_BYTES + member.packed_size))


def fetch_ahead(members: Iterable[Member], held: Held) -> Reads[None]:
    """Fetch small members at once, neighbours in one request, up to ``AHEAD_BYTES`` in all."""
    spans: list[Span] = []
    room = AHEAD_BYTES
    for member in sorted(members, key=lambda member: member.offset):
        span = _wanted(member)
        if held.take(span.start, span.length) is not None:
            continue
        joined = Span(spans[-1].start, span.end) if spans else span
        if spans and span.start - spans[-1].end <= _GAP_BYTES:
            cost, last = joined.length - spans[-1].length, joined
        else:
            cost, last = span.length, span
        if cost > room:
            continue
        room -= cost
        if last is joined and spans:
            spans[-1] = joined
        else:
            spans.append(span)
    yield from held.fetch(*spans)


class Inflating:
    """A member's bytes as they come out, so that its head is known before the rest is inflated."""

    def __init__(self, member: Member, held: Held) -> None:
        self._member = member
        self._held = held
        self._name = member.name.decode("ascii", "replace")
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None
        self._waiting = b""
        self._at = self._end = 0
        self._pending = False
        self.data = bytearray()

    def open(self) -> Reads[None]:
        """Find the data.

        Raises:
            BadRecording: the member's header is damaged.
        """
        self._at, self._end = yield from data_span(self._member, self._held)
        if self._inflate is None and self._member.packed_size != self._member.size:
            raise BadRecording(
                ProblemCode.BAD_MEMBER, f"{self._name}: a stored member of two sizes"
            )

    def upto(self, length: int) -> Reads[None]:
        """Have at least ``length`` bytes in ``data``, or all there are.

        Raises:
            BadRecording: it does not inflate.
        """
        while len(self.data) < length and (self._waiting or self._pending or self._at < self._end):
            if not self._waiting and not self._pending:
                piece = min(_PIECE_BYTES, self._end - self._at)
                self._waiting = yield from self._read(piece)
            if self._inflate is None:
                self.data += self._waiting
                self._waiting = b""
                continue
            self._inflate_some(length)
            if self._inflate.eof:
                return

    def _read(self, piece: int) -> Reads[bytes]:
        held = self._held.take(self._at, piece)
        if held is None:
            # Large members pass through: nobody reads their bytes twice.
            held = (yield (Span(self._at, self._at + piece),))[0]
        self._at += piece
        return held

    def _inflate_some(self, length: int) -> None:
        assert self._inflate is not None  # noqa: S101 - callers have looked
        most = min(_INFLATED_AT_ONCE, max(1, length - len(self.data)))
        try:
            out = self._inflate.decompress(self._waiting, most)
        except zlib.error:
            raise BadRecording(ProblemCode.BAD_MEMBER, f"{self._name}: does not inflate") from None
        self._waiting = self._inflate.unconsumed_tail
        # zlib may have taken all input and still hold output back.
        self._pending = len(out) == most and not self._inflate.eof
        self.data += out

    def rest(self) -> Reads[bytearray]:
        """All bytes, checked against the directory's size and checksum.

        Raises:
            BadRecording: another size or checksum than the directory says.
        """
        # One more than it says, to see that there is no more.
        yield from self.upto(self._member.size + 1)
        if len(self.data) != self._member.size:
            raise BadRecording(
                ProblemCode.BAD_MEMBER,
                f"{self._name}: has another size than the zip directory says",
            )
        if self._inflate is not None and not self._inflate.eof:
            raise BadRecording(ProblemCode.BAD_MEMBER, f"{self._name}: its packed data has no end")
        if zlib.crc32(self.data) != self._member.crc:
            raise BadRecording(ProblemCode.BAD_CHECKSUM, f"{self._name}: wrong checksum")
        return self.data
