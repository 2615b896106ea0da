"""Streams in any pieces: what is delivered, what is passed on, and what picows gets."""

import random

import pytest
from fast_reading import Reading
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket_support import BINARY, CLOSE, CONTINUATION, PING, TEXT, masked

from quest_backend.sockets.passing import Passed, Passing

PASSING = Passing(came=b'42["in","', goes=b'42["a longer one","', max_bytes=70_000)
LIMIT = 100_000


def passed(size: int, fill: bytes = b"A") -> bytes:
    return PASSING.came + fill * size + b'"]'


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 1, 3, 40))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


MESSAGES = [
    b"", b"2", b'42["in"]', b'42["in","', b'42["in",""]', b'42["in","x"', b'42["in","x"] ',
    b'42["in","x\\"]', b'42["in",1,"x"]', b'42["other","x"]', "42[\"in\",\"é\"]".encode(), b"\xff\xfe",
    *[passed(size) for size in (1, 2, 3, 63, 64, 65, 120, 65_500, 65_536, 70_000, 70_001)],
    *[b"x" * size for size in (125, 126, 127, 65_535, 65_536, LIMIT)],
]  # fmt: skip


@settings(deadline=None)
@given(st.integers(0, 2**64))
def test_what_comes_in_any_pieces_is_delivered_in_order(seed: int) -> None:
    rng = random.Random(seed)
    connection, others, expected, stream = Reading(PASSING, LIMIT), b"", [], b""
    for _ in range(rng.randrange(1, 12)):
        payload = rng.choice(MESSAGES)
        kind = rng.choice((TEXT, TEXT, BINARY, PING, CONTINUATION))
        if kind == PING:
            frame = masked(PING, payload[:125], mask=rng.randbytes(4))
            others += frame
        elif kind == CONTINUATION:  # a message in two frames, with a control frame between them
            frame = masked(TEXT, payload, fin=False, mask=rng.randbytes(4))
            frame += masked(PING, b"now")
            frame += masked(CONTINUATION, payload, mask=rng.randbytes(4))
            others += frame
        else:
            frame = masked(kind, payload, mask=rng.randbytes(4))
            expected.append((payload, kind == TEXT))
        stream += frame
    for piece in pieces(stream, rng):
        connection.feed(piece)
    assert connection.picows.taken == others
    assert connection.messages == [payload for payload, _ in expected]
    assert [text for _, text in connection.delivered] == [text for _, text in expected]
    for (message, _), (payload, text) in zip(connection.delivered, expected, strict=True):
        slowly = PASSING.take(payload) if text else None
        assert isinstance(message, Passed) == (slowly is not None)
        if slowly is not None:
            assert (message.frames, message.is_plain) == (slowly.frames, slowly.is_plain)
            assert message.rest == slowly.rest


@pytest.mark.parametrize("at", [0, 1, 31, 63, 64, 65, 127, 128, 199])
@pytest.mark.parametrize("special", [b'"', b"\\", b"\0", b"\x1f", b"\x80", b"\xff"])
def test_a_special_byte_is_seen_wherever_it_is(at: int, special: bytes) -> None:
    text = b"A" * at + special + b"A" * (199 - at)
    connection = Reading(PASSING, LIMIT)
    connection.feed(masked(TEXT, PASSING.came + text + b'"]'))
    ((message, _),) = connection.delivered
    assert not message.is_plain
    assert message.packet == PASSING.came + text + b'"]'


@pytest.mark.parametrize("fill", [b" ", b"!", b"#", b"[", b"]", b"~", b"\x7f"])
def test_its_neighbours_are_plain(fill: bytes) -> None:
    connection = Reading(PASSING, LIMIT)
    connection.feed(masked(TEXT, passed(200, fill)))
    ((message, _),) = connection.delivered
    assert message.is_plain


def test_a_message_after_one_that_was_not_plain_is() -> None:
    connection = Reading(PASSING, LIMIT)
    for fill in (b"\\", b"A"):
        connection.feed(masked(TEXT, passed(10, fill)))
    assert [message.is_plain for message, _ in connection.delivered] == [False, True]


@pytest.mark.parametrize(
    "frame",
    [
        masked(TEXT, b"x", mask=None),
        masked(TEXT, b"x" * 9, length=b"\x7e\x00\x09"),
        masked(TEXT, b"x" * 300, length=b"\x7f" + (300).to_bytes(8)),
        masked(TEXT, b"", length=b"\x7f\x80" + bytes(7)),
    ],
    ids=["unmasked", "16 bits for 9", "64 bits for 300", "the highest bit"],
)
def test_what_picows_ends_the_connection_for_it_gets_with_all_that_follows(frame: bytes) -> None:
    connection = Reading(PASSING, LIMIT)
    rest = frame + masked(TEXT, b"after it") + masked(PING)
    connection.feed(masked(TEXT, b"before it"))
    for piece in pieces(rest, random.Random(3)):
        connection.feed(piece)
    assert connection.messages == [b"before it"]
    assert connection.picows.taken == rest


@pytest.mark.parametrize(
    "frame",
    [
        masked(TEXT, b"x", reserved=4),
        masked(3, b"x"),
        masked(11, b"x"),
        masked(TEXT, b"x" * (LIMIT + 1)),
    ],
    ids=["reserved bit", "opcode 3", "opcode 11", "too large"],
)
def test_what_breaks_other_rules_is_for_picows_too(frame: bytes) -> None:
    connection = Reading(PASSING, LIMIT)
    connection.feed(frame)
    assert not connection.delivered
    assert connection.picows.taken == frame


def test_connections_share_a_buffer_and_nothing_in_it() -> None:
    """Each has its message in hand, its key and the beginning that it has seen so far."""
    rng = random.Random(8)
    connections = [Reading(PASSING, LIMIT) for _ in range(5)]
    streams = [
        [passed(rng.randrange(1, 3000), bytes((65 + number,))) for _ in range(20)]
        for number in range(5)
    ]
    left = [
        b"".join(masked(TEXT, one, mask=rng.randbytes(4)) for one in stream) for stream in streams
    ]
    while any(left):
        number = rng.randrange(5)
        size = rng.choice((1, 5, 20, 2000))
        connections[number].feed(left[number][:size])
        left[number] = left[number][size:]
    assert [connection.messages for connection in connections] == streams


def test_nothing_is_delivered_behind_a_close_frame() -> None:
    connection = Reading(PASSING, LIMIT)
    connection.feed(masked(TEXT, b"before"))
    connection.transport.is_close_frame_sent = True
    connection.feed(masked(TEXT, b"behind") + masked(TEXT, passed(5)) + masked(CLOSE))
    assert connection.messages == [b"before"]
    assert connection.picows.taken == masked(CLOSE)


def test_a_listener_that_raises_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    connection = Reading(PASSING, LIMIT)
    connection.fault = ValueError("a bug")
    connection.feed(masked(TEXT, b"a") + masked(TEXT, b"b"))
    assert connection.failed == [1011]
    assert connection.messages == [b"a"]
    assert "a bug" in caplog.text


def test_without_passing_all_is_delivered_as_it_came() -> None:
    connection = Reading(None, LIMIT)
    connection.feed(masked(TEXT, passed(5)))
    assert connection.delivered == [(passed(5), True)]


@pytest.mark.parametrize("came", [b"", b"x" * 65])
def test_what_it_cannot_look_for_is_refused(came: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Reading(Passing(came=came, goes=b"", max_bytes=1), LIMIT)
