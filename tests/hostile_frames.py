"""Packets that begin like a frame and are none, or nearly; and what a JSON decoder says of each."""

import json
import random
from collections.abc import Iterator
from typing import Any

from quest_backend.protocol.limits import MAX_FRAME_BYTES

HEAD = b'42["headset-frame",'


def verdict(packet: bytes) -> tuple[str | None, str]:
    """``(frame, "")`` that viewers must get, or ``(None, code)`` of the error that must come.

    By Python's own decoder, which is not the server's: strict UTF-8 (RFC 8259, 8.1), no byte order
    mark, no NaN, no lone surrogates.
    """
    try:
        data = json.loads(packet[2:].decode(), parse_constant=_no_json)
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None, "INVALID_INPUT"
    if not isinstance(data, list) or not data or data[0] != "headset-frame":
        return None, "INVALID_INPUT"
    frame = data[1] if len(data) > 1 else None
    if not isinstance(frame, str) or not 1 <= len(frame.encode()) <= MAX_FRAME_BYTES:
        return None, "INVALID_FRAME_DATA"
    return frame, ""


def _no_json(constant: str) -> Any:
    raise ValueError(constant)


def _hand_written() -> list[bytes]:
    full = b"A" * MAX_FRAME_BYTES
    rest = [
        b'"/9j/AAAA"]', b'"x"]', b'""]', b'"', b'"]', b'""', b"]", b"", b"x]", b'"x"', b'"x', b'x"]',
        # more than one argument
        b'"x","y"]', b'"x",1]', b'"x",null]', b'"x",{"a":"b"}]', b'"x",["y"]]', b'"",""]', b'1,"x"]',
        b'"x",]', b',"x"]', b'"x",,"y"]', b'"x" "y"]', b'"x","on-error"]',
        # a quote or a bracket that ends too early, or a second event behind it
        b'"x"y"]', b'"x"]"]', b'"x"]42["on-headset-frame-updated","y"]', b'"x"]\n42["z","y"]',
        b'"x"]]', b'"]"]', b'"]\\""]', b'"x]"]', b'"[\\"y\\"]"]', b'"x\\"],\\"y"]', b'"x"],["y"]',
        b'"x"],"y"]', b'"x"}', b'"x"]}', b'"x"] ', b'"x"]x', b'"x"]\0', b'"x"]//', b'"x"]"',
        # escapes
        b'"\\"]', b'"x\\"]', b'"x\\\\"]', b'"x\\\\\\"]', b'"\\n"]', b'"\\/9j\\/"]', b'"\\u0041"]',
        b'"\\u0000"]', b'"\\u0022"]', b'"\\u005d"]', b'"\\u00e9"]', b'"\\ud83d\\ude00"]', b'"\\ud800"]',
        b'"\\udc00\\ud800"]', b'"\\ud800x"]', b'"\\u12"]', b'"\\uZZZZ"]', b'"\\x41"]', b'"\\\'"]', b'"\\',
        # control characters: must be escaped (RFC 8259, 7); DEL need not
        *[b'"a%cb"]' % code for code in range(0x20)], b'"\x7f"]', b'"\0"]', b'"a\x1eb"]', b'"x\n"]',
        # UTF-8, good and bad
        "\"é\"]".encode(), "\"😀\"]".encode(), "\"\u2028\u2029\"]".encode(), b'"\xff"]', b'"\xc3"]',
        b'"\xc3("]', b'"\x80"]', b'"\xc0\x80"]', b'"\xc0\xa2"]', b'"\xe0\x80\xa2"]', b'"\xed\xa0\x80"]',
        b'"\xed\xb0\x80"]', b'"\xf4\x90\x80\x80"]', b'"\xf0\x82\x82\xac"]', b'"\xe2\x82"]', b'"x"]\xff',
        b'\xef\xbb\xbf"x"]', b'"\xef\xbb\xbfx"]', b'"x"\xef\xbb\xbf]', b'"x"\xc2\xa0]', b'"\xc2\x85"]',
        # whitespace, which JSON allows in four kinds
        b' "x"]', b'"x" ]', b'"x"]\n', b'\t"x"\r\n]', b' \n\t\r"x"\n] ', b'\x0b"x"]', b'\x0c"x"]', b'" "]',
        b'"x"] "]', b' ""]', b'"x",  "]"]',
        # not a string
        b"null]", b"true]", b"1]", b"-0]", b"1.5e3]", b"[]]", b'["x"]]', b"{}]", b'{"x":"y"}]', b"NaN]",
        b"Infinity]", b"'x']", b"`x`]", b"/**/\"x\"]", b"01]", b"[[[[\"x\"]]]]]", b"[" * 200 + b"]" * 201,
        b"[" * 5000, b"[" * 5000 + b"]" * 5001, b'{"_placeholder":true,"num":0}]', b'{"a":' * 300,
        # size
        b'"' + full[:-1] + b'"]', b'"' + full + b'"]', b'"' + full + b'A"]', b'"' + full * 2 + b'"]',
        b'"' + full[:-1] + "é".encode() + b'"]', b'"' + full[:-2] + "é".encode() + b'"]',
        b'"' + b"\\u0041" * (MAX_FRAME_BYTES // 6 + 1) + b'"]', b'"' + b"\\/" * 600_000 + b'"]',
        b'"' + full[:-1] + b'"' + b'"]', b'"' + full[:-1] + b"\n" + b'"]', b'"' + full[:-1] + b'\\"]',
        b'"' + full[:-1] + b"\xff" + b'"]', full + b'"]', b'"' + full + b']', b'"x"' + b" " * 1_100_000 + b"]",
    ]  # fmt: skip
    return [HEAD + one for one in rest]


HAND_WRITTEN = _hand_written()

_GOOD = [b'"/9j/4AAQSkZJRgABAQAAAQABAAD"]', b'"x"]', b'"data:image/jpeg;base64,/9j/AA=="]',
         b'"' + b"QUJD" * 40 + b'"]', '"é😀"]'.encode(), b'"\\u0041\\n"]', b'"x","y"]']  # fmt: skip
_SPLINTERS = [
    b'"', b"\\", b"]", b"[", b",", b"{", b"}", b'"]', b'","', b'"],"', b'\\"', b'\\\\"', b'"]"]', b" ",
    b"\n", b"\t", b"\0", b"\x01", b"\x1e", b"\x1f", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\xc3(", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"\xc0\xa2", b"\xf0\x9f\x98\x80", b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\\u0022",
    b"\\u00", b"\\n", b"null", b"1", b"A", b"==", b"/", b'42["on-headset-frame-updated","', b"[[[[", b'"x"',
]  # fmt: skip


def mutations(seed: int, count: int) -> Iterator[bytes]:
    """``count`` packets with up to four splinters put into, in place of, or cut out of good ones."""
    source = random.Random(seed)
    for _ in range(count):
        rest = source.choice(_GOOD)
        for _ in range(source.choice((0, 1, 1, 1, 2, 2, 3, 4))):
            # Near the ends is where a shortcut would be wrong.
            near = source.choice((0, 1, len(rest) - 2, len(rest) - 1, len(rest)))
            at = source.choice((near, source.randrange(len(rest) + 1)))
            at = min(max(at, 0), len(rest))
            cut = at + source.choice((0, 0, 0, 1, 2))
            splinter = source.choice(_SPLINTERS) if source.random() < 0.9 else b""
            rest = rest[:at] + splinter + rest[cut:]
        yield HEAD + rest
