"""RFC 6455 as a table: what a client sends after its handshake, and what must come back.

The server echoes messages and takes at most ``LIMIT`` bytes in one. ``differs`` names what the
fallback protocols of uvicorn answer where it is something else; picows has no such column.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from websocket_support import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    closing,
    masked,
)

LIMIT = 70_000
EURO = "€".encode()
SANSIO, WSPROTO = "websockets-sansio", "wsproto"
Answers = tuple[Frame, ...]
# Not frames. The connection ends without a close frame:
CUT = Frame(-1, b"cut")
# The server waits for more, and the client has nothing more to say:
WAITS = Frame(-1, b"waits")


@dataclass(frozen=True)
class Case:
    """``sent`` is answered by ``answers``, in order; the last may be a close, by code."""

    section: str
    name: str
    sent: bytes
    answers: Answers
    differs: Mapping[str, Answers] = field(default_factory=dict)

    def expected(self, protocol: str) -> Answers:
        """Of the server that runs ``protocol``."""
        usual = self.answers
        if protocol == WSPROTO and usual[-1] in (closed(1002), closed(1007)):
            # uvicorn's wsproto hangs up on violations without saying why (7.1.7 has "SHOULD").
            usual = (*usual[:-1], CUT)
        return self.differs.get(protocol, usual)

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def text(payload: bytes | str) -> Frame:
    return Frame(TEXT, payload.encode() if isinstance(payload, str) else payload)


def closed(code: int | None) -> Frame:
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2))


def _data() -> Iterator[Case]:
    yield Case("5.6", "text", masked(TEXT, b"Hello"), (text("Hello"),))
    yield Case("5.6", "binary", masked(BINARY, b"\x00\xff"), (Frame(BINARY, b"\x00\xff"),))
    yield Case("5.6", "empty text", masked(TEXT), (text(""),))
    yield Case("5.6", "empty binary", masked(BINARY), (Frame(BINARY, b""),))
    for size in (125, 126, 127, 128, 65535, 65536, LIMIT):
        data = bytes(index % 251 for index in range(size))
        yield Case("5.2", f"length {size}", masked(BINARY, data), (Frame(BINARY, data),))
    yield Case("5.3", "a mask of zeros", masked(TEXT, b"plain", mask=bytes(4)), (text("plain"),))
    three = b"".join(masked(TEXT, b"%d" % index) for index in range(3))
    yield Case("5.4", "messages keep their order", three, (text("0"), text("1"), text("2")))


def _fragments() -> Iterator[Case]:
    start, end = masked(TEXT, b"Hel", fin=False), masked(CONTINUATION, b"lo")
    yield Case("5.4", "two fragments", start + end, (text("Hello"),))
    middle = masked(CONTINUATION, b"", fin=False)
    yield Case("5.4", "an empty fragment between", start + middle + end, (text("Hello"),))
    empty = masked(TEXT, fin=False) + masked(CONTINUATION)
    yield Case("5.4", "nothing but empty fragments", empty, (text(""),))
    binary = masked(BINARY, b"\x80", fin=False) + masked(CONTINUATION, b"\xff")
    yield Case("5.4", "binary in fragments", binary, (Frame(BINARY, b"\x80\xff"),))
    many = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b", fin=False) * 500 + end
    yield Case("5.4", "502 fragments", many, (text(b"a" + b"b" * 500 + b"lo"),))
    yield Case("5.4", "a ping between fragments", start + masked(PING, b"now") + end,
               (Frame(PONG, b"now"), text("Hello")))  # fmt: skip
    yield Case(
        "5.4", "a pong between fragments", start + masked(PONG, b"x") + end, (text("Hello"),)
    )
    yield Case("5.4", "a close between fragments", start + closing(1000), (closed(1000),),
               {SANSIO: (closed(1002),)})  # fmt: skip
    yield Case("5.4", "nothing to continue", end, (closed(1002),))
    yield Case("5.4", "nothing to continue, and more to come",
               masked(CONTINUATION, b"x", fin=False), (closed(1002),))  # fmt: skip
    yield Case("5.4", "text inside a message", start + masked(TEXT, b"x"), (closed(1002),))
    yield Case("5.4", "binary inside a message", start + masked(BINARY, b"x", fin=False),
               (closed(1002),))  # fmt: skip
    yield Case("5.4", "continued after its end",
               masked(PING, b"1") + end, (Frame(PONG, b"1"), closed(1002)))  # fmt: skip


def _pings() -> Iterator[Case]:
    yield Case("5.5.2", "ping", masked(PING, b"Hello"), (Frame(PONG, b"Hello"),))
    yield Case("5.5.2", "ping without payload", masked(PING), (Frame(PONG, b""),))
    yield Case("5.5.2", "ping of 125 bytes", masked(PING, b"\xfe" * 125),
               (Frame(PONG, b"\xfe" * 125),))  # fmt: skip
    several = b"".join(masked(PING, b"%d" % index) for index in range(5))
    yield Case("5.5.2", "every ping is answered, in order", several,
               tuple(Frame(PONG, b"%d" % index) for index in range(5)))  # fmt: skip
    yield Case("5.5.3", "a pong that nobody asked for", masked(PONG, b"x") + masked(TEXT, b"on"),
               (text("on"),))  # fmt: skip
    yield Case("5.5", "ping of 126 bytes", masked(PING, b"x" * 126), (closed(1002),))
    yield Case("5.5", "ping in fragments", masked(PING, fin=False), (closed(1002),))
    yield Case("5.5", "pong in fragments", masked(PONG, b"x", fin=False), (closed(1002),))
    yield Case("5.5", "close in fragments", masked(CLOSE, fin=False), (closed(1002),))
    yield Case("5.5", "close of 126 bytes", closing(1000, b"x" * 124), (closed(1002),))


def _closes() -> Iterator[Case]:
    # 5.5.1 lets a server choose its answer to a close without a code.
    yield Case("5.5.1", "close without a code", closing(None), (closed(1000),),
               {SANSIO: (closed(None),), WSPROTO: (closed(None),)})  # fmt: skip
    yield Case("5.5.1", "half a code", masked(CLOSE, b"\x03"), (closed(1002),))
    yield Case("5.5.1", "with a reason", closing(1000, b"going home"), (closed(1000),))
    yield Case("5.5.1", "with the longest reason", closing(1000, b"x" * 123), (closed(1000),))
    yield Case("5.5.1", "nothing counts behind it", closing(1000) + masked(TEXT, b"late"),
               (closed(1000),))  # fmt: skip
    yield Case("5.5.1", "no pong behind it", closing(1000) + masked(PING), (closed(1000),))
    yield Case("8.1", "its reason is no UTF-8", closing(1000, b"\xff"), (closed(1007),))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        echoed = (closed(code),)
        yield Case("7.4", f"code {code}", closing(code), echoed, {WSPROTO: echoed})
    # 7.4.1 at IANA: registered since, for applications.
    for code in (1012, 1013):
        yield Case("11.7", f"code {code}", closing(code), (closed(code),))
    yield Case("11.7", "code 1014", closing(1014), (closed(1014),), {WSPROTO: (CUT,)})
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case("7.4", f"code {code}", closing(code), (closed(1002),))


def _headers() -> Iterator[Case]:
    for bits in range(1, 8):
        yield Case("5.2", f"reserved bits {bits:03b}", masked(TEXT, b"x", reserved=bits),
                   (closed(1002),))  # fmt: skip
    yield Case("5.2", "a reserved bit on a ping", masked(PING, reserved=4), (closed(1002),))
    yield Case("5.2", "a reserved bit on a close", masked(CLOSE, reserved=4), (closed(1002),))
    yield Case("5.2", "a reserved bit on a continuation",
               masked(TEXT, b"x", fin=False) + masked(CONTINUATION, b"y", reserved=2),
               (closed(1002),))  # fmt: skip
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case("5.2", f"opcode {opcode}", masked(opcode, b"x"), (closed(1002),))
    yield Case("5.1", "text without a mask", masked(TEXT, b"x", mask=None), (closed(1002),))
    yield Case("5.1", "ping without a mask", masked(PING, mask=None), (closed(1002),))
    yield Case("5.1", "close without a mask", masked(CLOSE, mask=None), (closed(1002),))
    yield Case("5.2", "16 bits for a short length",
               masked(TEXT, b"x" * 125, length=b"\x7e\x00\x7d"), (closed(1002),),
               {SANSIO: (text("x" * 125),)})  # fmt: skip
    yield Case("5.2", "64 bits for a short length",
               masked(TEXT, b"x" * 126, length=b"\x7f" + (126).to_bytes(8)), (closed(1002),),
               {SANSIO: (text("x" * 126),)})  # fmt: skip
    yield Case("5.2", "the highest bit of a length",
               masked(TEXT, length=b"\x7f\x80" + bytes(7)), (closed(1002),),
               {SANSIO: (closed(1009),)})  # fmt: skip


def _unicode() -> Iterator[Case]:
    for good in ("κόσμε", "€", "\U0010ffff", "\0", "\ufeff", "\ufffd", "\uffff"):
        yield Case("8.1", f"text {good!a}", masked(TEXT, good.encode()), (text(good),))
    split = masked(TEXT, EURO[:1], fin=False) + masked(CONTINUATION, EURO[1:2], fin=False)
    yield Case("8.1", "a character split over fragments", split + masked(CONTINUATION, EURO[2:]),
               (text("€"),))  # fmt: skip
    yield Case("8.1", "split, with a ping between",
               split + masked(PING) + masked(CONTINUATION, EURO[2:]),
               (Frame(PONG, b""), text("€")))  # fmt: skip
    yield Case("8.1", "half a character over fragments", split + masked(CONTINUATION),
               (closed(1007),))  # fmt: skip
    for bad in (
        b"\xff", b"\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80", EURO[:2], b"good\xce",
    ):  # fmt: skip
        yield Case("8.1", f"text {bad.hex()}", masked(TEXT, bad), (closed(1007),))
    yield Case("8.1", "binary is not checked", masked(BINARY, b"\xff"), (Frame(BINARY, b"\xff"),))


def _sizes() -> Iterator[Case]:
    over = LIMIT + 1
    yield Case("7.4.1", "a message over the limit", masked(BINARY, bytes(over)), (closed(1009),))
    yield Case("7.4.1", "its length is enough", masked(TEXT, length=b"\x7f" + over.to_bytes(8)),
               (closed(1009),), {WSPROTO: (WAITS,)})  # fmt: skip
    yield Case("7.4.1", "a length of 8 EiB", masked(TEXT, length=b"\x7f\x7f" + b"\xff" * 7),
               (closed(1009),), {WSPROTO: (WAITS,)})  # fmt: skip
    part = masked(CONTINUATION, bytes(LIMIT // 2), fin=False)
    at_limit = masked(BINARY, bytes(LIMIT // 2), fin=False) + part + masked(CONTINUATION)
    yield Case("7.4.1", "fragments at the limit", at_limit, (Frame(BINARY, bytes(LIMIT)),))
    yield Case("7.4.1", "fragments over the limit",
               masked(BINARY, bytes(LIMIT // 2), fin=False) + part + masked(CONTINUATION, b"x"),
               (closed(1009),))  # fmt: skip


CASES: tuple[Case, ...] = (
    *_data(), *_fragments(), *_pings(), *_closes(), *_headers(), *_unicode(), *_sizes(),
)  # fmt: skip
