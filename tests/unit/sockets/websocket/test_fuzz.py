"""Random and mutated streams in arbitrary pieces, compared with an independent, simple parser.

``FUZZ_STREAMS=20000`` for a long run, ``FUZZ_SEED`` for another one.
"""

import asyncio
import contextlib
import os
import random
from typing import Any

import pytest
from websocket_model import Told, told
from websocket_support import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PATIENCE_S,
    PING,
    PONG,
    TEXT,
    Echo,
    Frame,
    Peer,
    Receive,
    Running,
    Scope,
    Send,
    closing,
    connected,
    masked,
    serving,
    upgrade,
)

from quest_backend.sockets.websocket import DIRECT, Direct

pytestmark = pytest.mark.asyncio

STREAMS = int(os.environ.get("FUZZ_STREAMS", "400"))
SEED = int(os.environ.get("FUZZ_SEED", "6455"))
LIMIT = 2000
AT_ONCE = 40
WORDS = ["", "a", "Hello", "κόσμε", "€" * 60, "x" * 125, "x" * 126, "x" * 1999, "x" * 2000]


class Heard:
    """What one connection told the application."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str | bytes]] = []
        self.code: int | None = None
        self.ended = asyncio.Event()

    def received(self, payload: bytes, text: bool) -> None:
        # Direct listeners check text themselves.
        self.items.append(("text", payload.decode()) if text else ("bytes", payload))

    def paused(self) -> None:
        pass

    def drained(self) -> None:
        pass

    def lost(self, code: int) -> None:
        assert self.code is None, "told twice"
        self.code = code
        self.ended.set()


class Listening:
    """Notes everything, by the path of the connection; paths under ``/direct`` without a task."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        heard = self.heard[scope["path"]] = Heard()
        if scope["path"].startswith("/direct"):
            direct: Direct = scope["extensions"][DIRECT]
            direct.accept(heard)
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") is not None:
                heard.items.append(("text", message["text"]))
            else:
                heard.items.append(("bytes", message["bytes"]))
        heard.lost(message["code"])


def well_formed(rng: random.Random) -> bytes:
    """Messages in fragments, with control frames between them; perhaps a close."""
    stream = b""
    for _ in range(rng.randrange(1, 8)):
        kind = rng.choice((TEXT, BINARY))
        payload = rng.choice(WORDS).encode()[:LIMIT]
        if kind == TEXT:
            payload = payload.decode(errors="ignore").encode()
        cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.choice((0, 0, 1, 3))))
        pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for index, piece in enumerate(pieces):
            opcode = CONTINUATION if index else kind
            mask = rng.randbytes(4)
            stream += masked(opcode, piece, fin=index == len(pieces) - 1, mask=mask)
            if rng.random() < 0.2:
                stream += masked(rng.choice((PING, PONG)), rng.randbytes(rng.randrange(126)))
    if rng.random() < 0.3:
        stream += closing(rng.choice((None, 1000, 1001, 3000, 4999)))
    return stream


def mutated(rng: random.Random, stream: bytes) -> bytes:
    """A few bytes changed, lost, doubled, put in or cut off."""
    data = bytearray(stream)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        span = rng.choice((1, 1, 2, 8))
        change = rng.randrange(6)
        if change == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1 and at < len(data):
            data[at] = rng.choice((0, 0x7F, 0x80, 0x81, 0x88, 0xFE, 0xFF))
        elif change == 2:
            del data[at : at + span]
        elif change == 3:
            data[at:at] = rng.randbytes(span)
        elif change == 4:
            data[at:at] = data[at : at + 20]
        else:
            del data[max(1, at) :]
    return bytes(data)


def noise(rng: random.Random) -> bytes:
    """Headers that are mostly right, with anything behind them."""
    stream = b""
    for _ in range(rng.randrange(1, 6)):
        first = rng.choice((0x81, 0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8A, rng.randrange(256)))
        length = rng.choice((0, 1, 2, 5, 125, 126, 127, rng.randrange(128)))
        stream += bytes((first, length | rng.choice((128, 128, 128, 0))))
        stream += rng.randbytes(rng.choice((0, 4, 4 + length, 12 + length)))
    return stream


def a_stream(rng: random.Random) -> bytes:
    stream = well_formed(rng)
    roll = rng.random()
    if roll < 0.25:
        return stream
    return mutated(rng, stream) if roll < 0.8 else noise(rng)


def in_pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    """All at once, byte by byte, or torn anywhere."""
    roll = rng.random()
    if roll < 0.2:
        return [stream]
    longest = 1 if roll < 0.3 and len(stream) < 500 else rng.choice((3, 50, 1000))
    pieces = []
    while stream:
        size = rng.randrange(1, longest + 1)
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


async def say(peer: Peer, pieces: list[bytes]) -> None:
    with contextlib.suppress(ConnectionError):  # closed early, as the frames that come will say
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
    peer.half_close()


def agree(expected: Told, items: list[Any], close: int | None, app_code: int | None) -> bool:
    """Whether server and model made the same of a stream.

    picows reads one frame ahead: a frame that is wrong may take the one before it along.
    """
    if close is None:
        return None in expected.codes and app_code == 1006 and items == expected.items
    if expected.by_client and close in expected.codes and items == expected.items:
        return app_code == close or (app_code == 1005 and close == 1000)
    if close not in expected.codes | expected.ahead or app_code != close:
        return False
    return items in (expected.items, expected.items[:-1])


async def one(running: Running, listening: Listening, path: str, seed: str) -> str | None:
    """One stream on one connection; what was wrong with it."""
    rng = random.Random(seed)
    stream = a_stream(rng)
    expected = told(stream, LIMIT)
    if path.startswith("/direct") and 1007 in expected.codes:
        return None  # whose text nobody checks for them
    try:
        async with connected(running, path) as peer:
            _, frames = await asyncio.gather(say(peer, in_pieces(rng, stream)), peer.frames())
        heard = listening.heard[path]
        async with asyncio.timeout(PATIENCE_S):
            await heard.ended.wait()
    except TimeoutError:
        return f"{seed}: no end of {stream.hex()}"
    pongs = [("pong", frame.payload) for frame in frames if frame.opcode == PONG]
    closes = [frame for frame in frames if frame.opcode == CLOSE]
    others = [frame for frame in frames if frame.opcode not in (PONG, CLOSE)]
    wrong = others or closes != frames[-1:][: len(closes)]  # at most one, and the last
    # Messages and pongs go different ways, so that their order among each other is not known.
    got = _woven(expected, heard.items, pongs)
    if wrong or not agree(expected, got, closes[0].code if closes else None, heard.code):
        end = [frame.payload for frame in closes]
        return f"{seed}: {stream.hex()}\n {expected}\n {got}\n {end} {heard.code}"
    return None


def _woven(expected: Told, messages: list[Any], pongs: list[Any]) -> list[Any]:
    """Both in the order that was expected; what is too much comes last."""
    messages, pongs = list(messages), list(pongs)
    woven = []
    for kind, _ in expected.items:
        queue = pongs if kind == "pong" else messages
        if queue:
            woven.append(queue.pop(0))
    return woven + messages + pongs


@pytest.mark.parametrize("protocol", ["picows", "picows-plain"])
@pytest.mark.parametrize("way", ["asgi", "direct"])
async def test_streams(way: str, protocol: str) -> None:
    """The same messages, pongs and close; nothing left behind; the next connection works."""
    listening = Listening()
    async with serving(listening, protocol, ws_max_size=LIMIT) as running:
        for start in range(0, STREAMS, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, STREAMS))
            wrong = await asyncio.gather(
                *(one(running, listening, f"/{way}/{n}", f"{SEED}-{n}") for n in numbers)
            )
            assert not any(wrong), "\n".join(filter(None, wrong))
    assert len(listening.heard) > STREAMS * 0.8


async def test_random_bytes_harm_nobody_else() -> None:
    """A connection that works goes on while others send noise and vanish."""
    rng = random.Random(SEED)
    async with serving(Echo(), ws_max_size=LIMIT) as running, connected(running) as good:
        for _ in range(100):
            peer = await Peer.connect(running.port)
            with contextlib.suppress(ConnectionError):
                await peer.send(b"" if rng.random() < 0.2 else upgrade())
                await peer.send(rng.randbytes(rng.randrange(1, 3000)))
            peer.hang_up()
            await good.send(masked(TEXT, b"fine"))
            assert await good.frame() == Frame(TEXT, b"fine")


async def test_the_model_itself() -> None:
    """It tells streams apart that differ: a model that says yes to all would prove nothing."""
    hello = masked(TEXT, b"Hello")
    assert told(hello, LIMIT).items == [("text", "Hello")]
    assert told(hello, 4).codes == {1009}
    assert told(hello[:-1], LIMIT) == Told()
    assert told(hello + closing(1000), LIMIT).codes == {1000}
    assert told(masked(TEXT, b"\xff"), LIMIT).codes == {1007}
    assert told(masked(CONTINUATION, b"x"), LIMIT).codes == {1002}
    assert told(masked(TEXT, b"x", mask=None), LIMIT).codes == {1002}
    streams = [told(a_stream(random.Random(f"{SEED}-{n}")), LIMIT) for n in range(300)]
    ends = [code for one in streams for code in one.codes]
    for code in (None, 1000, 1002, 1007, 1009):
        assert ends.count(code) >= 2, f"no streams end by {code}"
