"""The proof that a frame which is passed on unread is exactly one JSON string.

Each packet of a hostile corpus is read as a frame, by ``PASSING`` and by the compiled reader, and
by Python's own JSON decoder, which has to agree; ``FRAME_PACKETS=1000000`` for a long run.
"""

import base64
import json
import os
import random

import orjson
import pytest
from fast_reading import Reading
from hostile_frames import HAND_WRITTEN, HEAD, mutations, verdict
from hypothesis import given
from hypothesis import strategies as st
from websocket_support import TEXT, masked

from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import MAX_FRAME_BYTES
from quest_backend.realtime.frame_packets import PASSING, Frame
from quest_backend.sockets.passing import Passed
from quest_backend.sockets.websocket import header

FRAME_PACKETS = int(os.environ.get("FRAME_PACKETS", "20000"))


def passed_on(passed: Passed) -> object:
    """What a viewer's decoder makes of the packet that it gets."""
    outgoing = Frame(1, 0, passed).legacy()
    assert not outgoing.attachments
    assert outgoing.text.startswith(b"42")
    assert outgoing.frames == header(1, len(outgoing.text)) + outgoing.text
    return json.loads(outgoing.text[2:].decode())


def agrees(packet: bytes) -> bool:
    """Whether ``packet`` is passed on unread; then a decoder must say the same."""
    passed = PASSING.take(packet)
    compiled = read_fast(packet)
    if passed is None:
        assert compiled == packet
        return False
    assert isinstance(compiled, Passed)
    assert compiled.packet == passed.packet == packet
    assert compiled.is_plain == passed.is_plain
    if passed.is_plain:
        frame, _ = verdict(packet)
        assert frame is not None, packet[:200]
        assert json.loads(packet[2:]) == ["headset-frame", frame]
        assert len(frame.encode()) <= MAX_FRAME_BYTES
        for one in (passed, compiled):
            assert passed_on(one) == ["on-headset-frame-updated", frame]
    return passed.is_plain


def read_fast(packet: bytes) -> object:
    """What the compiled reader delivers for a frame with this payload, in pieces."""
    reading = Reading(PASSING, 4 * MAX_FRAME_BYTES)
    data = masked(TEXT, packet, mask=_random.randbytes(4))
    cut = _random.randrange(len(data))
    for piece in (data[:cut], data[cut:]):
        reading.feed(piece)
    assert not reading.picows.taken
    ((message, _text),) = reading.delivered
    return message


_random = random.Random(5)


def test_the_prefix_is_the_event() -> None:
    assert PASSING.came == HEAD + b'"'


@pytest.mark.parametrize("packet", HAND_WRITTEN, ids=lambda packet: repr(packet[19:59])[2:-1])
def test_hand_written_packets(packet: bytes) -> None:
    agrees(packet)


def test_mutated_packets() -> None:
    plain = sum(agrees(packet) for packet in mutations(11, FRAME_PACKETS))
    # Both sides are met often; otherwise this would prove nothing.
    assert 0.1 < plain / FRAME_PACKETS < 0.6


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes(body: bytes, closed: bool) -> None:
    agrees(HEAD + (b'"%s"]' % body if closed else body))


@given(st.text(max_size=60), st.booleans())
def test_any_text_as_an_encoder_writes_it(text: str, escaped: bool) -> None:
    literal = (
        json.dumps(text, ensure_ascii=escaped).encode()
        if text.isascii() or escaped
        else orjson.dumps(text)
    )
    agrees(HEAD + literal + b"]")


@given(st.binary(min_size=1, max_size=3000))
def test_every_base64_frame_is_passed_on_unread(jpeg: bytes) -> None:
    """The shortcut is not only right but taken."""
    assert agrees(HEAD + b'"' + base64.b64encode(jpeg) + b'"]')


@pytest.mark.parametrize(
    ("size", "plain"),
    [(1, True), (MAX_FRAME_BYTES, True), (MAX_FRAME_BYTES + 1, False), (0, False)],
)
def test_the_size_limit(size: int, plain: bool) -> None:
    assert agrees(HEAD + b'"' + b"A" * size + b'"]') is plain


class TestForms:
    """A frame in the form that it did not come in."""

    def v2(self, text: str) -> bytes | None:
        frame = Frame(7, 1.234, text)
        outgoing = frame.v2("QUEST_0001")
        if outgoing is None:
            return None
        assert json.loads(outgoing.text[len(b"451-") :]) == [
            catalogue.ON_HEADSET_FRAME.name, "QUEST_0001", 7, 1234, {"_placeholder": True, "num": 0},
        ]  # fmt: skip
        (jpeg,) = outgoing.attachments
        return jpeg

    def test_base64_becomes_binary(self) -> None:
        jpeg = bytes(range(256))
        assert self.v2(base64.b64encode(jpeg).decode()) == jpeg

    def test_a_data_uri_is_stripped(self) -> None:
        assert self.v2("data:image/jpeg;base64,/9j/AAAA") == b"\xff\xd8\xff\0\0\0"

    def test_base64_in_lines(self) -> None:
        """As MIME writes it (RFC 2045, 6.8)."""
        jpeg = bytes(range(200))
        assert self.v2(base64.encodebytes(jpeg).decode().replace("\n", "\r\n")) == jpeg

    @pytest.mark.parametrize(
        "text",
        ["x", "hello wo", "not base64!", "/9j/*AAAA", "/9j/AAA", "/9j/AA=A", "====", "/9j/AA==/9j/",
         "data:image/jpeg;base64,", "data:", "data:text/plain,abcd", "ab cd", "data:image/jpeg;base64", "é", "/9j/AAAé", " ", "-_-_", '{"a":1}'],
    )  # fmt: skip
    def test_what_is_no_base64_has_no_binary_form(self, text: str) -> None:
        frame = Frame(1, 0, text)
        assert frame.v2("QUEST_0001") is None
        assert frame.v2("QUEST_0001") is None
        assert json.loads(frame.legacy().text[2:]) == ["on-headset-frame-updated", text]

    @given(st.binary(min_size=1, max_size=300))
    def test_binary_becomes_base64_once(self, jpeg: bytes) -> None:
        frame = Frame(1, 0, jpeg)
        legacy = frame.legacy()
        assert json.loads(legacy.text[2:]) == [
            "on-headset-frame-updated", base64.b64encode(jpeg).decode(),
        ]  # fmt: skip
        assert frame.legacy() is legacy
        assert frame.v2("QUEST_0001") is frame.v2("QUEST_0001")


@pytest.mark.parametrize(
    "frame",
    [
        Frame(7, 1234.5, Passed(PASSING, HEAD + b'"QUJD"]')),
        Frame(7, 1234.5, b"ABC"),
        Frame(7, 1234.5, "QUJD"),
    ],
    ids=["packet", "jpeg", "text"],
)
def test_a_frame_is_the_same_on_another_node(frame: Frame) -> None:
    there = Frame.from_bytes(b"".join(frame.to_parts()))
    assert there is not None
    assert (there.seq, there.arrived_at) == (7, 1234.5)
    for one in (frame, there):
        assert orjson.loads(one.legacy().text[2:]) == ["on-headset-frame-updated", "QUJD"]
        v2 = one.v2("quest_0001")
        assert v2 is not None
        assert v2.attachments == (b"ABC",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01short",
        b"\x09" + bytes(16) + b"of a later version",
        b"\x01" + bytes(16) + b"no frame",
    ],
)
def test_what_is_no_frame_from_another_node_is_left(data: bytes) -> None:
    assert Frame.from_bytes(data) is None
