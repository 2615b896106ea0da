"""RFC 6455 once more, slowly: what a server must make of a client's bytes, given all at once.

Independent of the server's parser: it looks at the whole stream, cuts it into frames and walks
through them. Where several rules are broken at once, each one's code is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
# Rules that a broken stream can be closed for; None: the connection just ends.
Codes = frozenset[int | None]


class Cut(NamedTuple):
    """One frame, and whether its header was whole (payload and mask may be missing)."""

    first: int
    masked: bool
    length: int
    shortest: bool
    payload: bytes | None


@dataclass
class Told:
    """What a stream says: messages to the application, pongs to the client, and its end."""

    # ("text", str), ("bytes", bytes) or ("pong", bytes), in order.
    items: list[tuple[str, str | bytes]] = field(default_factory=list)
    # The codes that the server may close with.
    codes: Codes = frozenset({None})
    # The code that ended it is the client's own.
    by_client: bool = False
    # What the frame behind the one that ended it breaks, for servers that read one frame ahead.
    ahead: Codes = frozenset()


def frames(stream: bytes) -> Iterator[Cut]:
    """Whole ones, then what is left if it has a length."""
    while len(stream) >= 2:
        first, second = stream[0], stream[1]
        length, at = second & 127, 2
        extra = {126: 2, 127: 8}.get(length, 0)
        if extra:
            if len(stream) < at + extra:
                # Not known yet; what the first two bytes say is.
                yield Cut(first, second > 127, -length, True, None)
                return
            length = int.from_bytes(stream[at : at + extra])
            at += extra
        shortest = extra == 0 or length >= (126 if extra == 2 else 1 << 16)
        shortest = shortest and length < 1 << 63
        masked = second > 127
        end = at + 4 * masked + length
        if len(stream) < end:
            yield Cut(first, masked, length, shortest, None)
            return
        key, body = stream[at : at + 4], stream[at + 4 * masked : end]
        if masked:
            body = bytes(byte ^ key[index % 4] for index, byte in enumerate(body))
        yield Cut(first, masked, length, shortest, body)
        stream = stream[end:]


def told(stream: bytes, limit: int) -> Told:
    """What a server that takes messages of ``limit`` bytes makes of ``stream`` and its end."""
    result = Told()
    reader = _Reader(limit, result.items)
    cuts = list(frames(stream))
    for index, cut in enumerate(cuts):
        codes = reader.read(cut)
        if codes:
            result.codes = codes
            result.by_client = reader.closed
            result.ahead = _ahead(cuts[index + 1 : index + 2], limit)
            break
    return result


class _Reader:
    """Frames to items, one after the other."""

    def __init__(self, limit: int, items: list[tuple[str, str | bytes]]) -> None:
        self.closed = False
        self._limit = limit
        self._items = items
        self._parts: list[bytes] | None = None
        self._kind = TEXT

    def read(self, cut: Cut) -> Codes:
        """Nothing, or the codes that the connection may end with here."""
        opcode = cut.first & 15
        broken: set[int | None] = set(_broken(cut, self._limit))
        if opcode < 8 and (opcode == CONTINUATION) != (self._parts is not None):
            broken.add(1002)
        if broken and opcode == CLOSE and cut.payload is not None and not _close(cut.payload)[1]:
            broken |= _close(cut.payload)[0]
        if broken or cut.payload is None:
            # While its payload is not there, a server may also still be waiting.
            return frozenset(broken | ({None} if cut.payload is None else set()))
        if opcode == CLOSE:
            codes, self.closed = _close(cut.payload)
            return codes
        if opcode == PING:
            self._items.append(("pong", cut.payload))
        elif opcode != PONG:
            return self._data(opcode, cut.first > 127, cut.payload)
        return frozenset()

    def _data(self, opcode: int, final: bool, payload: bytes) -> Codes:
        if self._parts is None:
            self._parts, self._kind = [], opcode
        self._parts.append(payload)
        message = b"".join(self._parts)
        if len(message) > self._limit:
            return frozenset({1009})
        if final:
            self._parts = None
            try:
                self._items.append(
                    ("text", message.decode()) if self._kind == TEXT else ("bytes", message)
                )
            except UnicodeDecodeError:
                return frozenset({1007})
        return frozenset()


def _ahead(following: list[Cut], limit: int) -> Codes:
    codes: set[int | None] = set()
    for cut in following:
        codes |= set(_broken(cut, limit))
        if cut.first & 15 == CLOSE and cut.payload is not None:
            # One that is broken itself, or comes a second time.
            codes |= _close(cut.payload)[0] | {1002}
    return frozenset(codes)


def _broken(cut: Cut, limit: int) -> Iterator[int]:
    opcode, final = cut.first & 15, cut.first > 127
    if opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield 1002
    if cut.first & 0x70 or not cut.masked or not cut.shortest:
        yield 1002
    if opcode >= 8 and (not final or abs(cut.length) > 125):
        yield 1002
    if opcode < 8 and cut.length > limit:
        yield 1009


def _close(payload: bytes) -> tuple[Codes, bool]:
    if not payload:
        return frozenset({1000}), True
    code = int.from_bytes(payload[:2])
    registered = {1000, 1001, 1002, 1003, *range(1007, 1015)}
    codes: set[int | None] = set()
    if len(payload) == 1 or not (code in registered or 3000 <= code <= 4999):
        codes.add(1002)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        codes.add(1007)
    return (frozenset(codes), False) if codes else (frozenset({code}), True)
