"""After the handshake: the table of RFC 6455, on picows and on the fallback protocols."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import pytest
from websocket_cases import CASES, CUT, LIMIT, WAITS, Case, closed
from websocket_support import (
    CLOSE,
    PROTOCOLS,
    TEXT,
    Echo,
    Frame,
    Peer,
    Running,
    closing,
    connected,
    masked,
    serving,
)

pytestmark = pytest.mark.asyncio

GOODBYE = 4321
# How the bytes arrive: all at once, or torn.
Arrival = Callable[[Peer, bytes], Awaitable[None]]


async def whole(peer: Peer, data: bytes) -> None:
    await peer.send(data)


async def torn(peer: Peer, data: bytes) -> None:
    """The first bytes one by one, where headers are; the rest in odd pieces."""
    for at in range(min(32, len(data))):
        await peer.send(data[at : at + 1])
        await asyncio.sleep(0)
    for at in range(32, len(data), 4099):
        await peer.send(data[at : at + 4099])
        await asyncio.sleep(0)


def plainly(frame: Frame) -> tuple[int, bytes | int | None]:
    """Without the reason of a close, which is the server's own; it has to be UTF-8."""
    if frame.opcode != CLOSE:
        return frame.opcode, frame.payload
    frame.payload[2:].decode()
    return CLOSE, frame.code


async def answers(
    peer: Peer, case: Case, expected: Sequence[Frame], arrival: Arrival
) -> list[Frame]:
    """All that comes, with the close that ends it; a connection that would go on is closed."""
    with contextlib.suppress(ConnectionError):  # the server had read enough
        await arrival(peer, case.sent)
    if expected[-1] == WAITS:
        peer.half_close()
        return [*await peer.frames(), WAITS]
    found: list[Frame] = []
    while len(found) < len(expected) - (expected[-1] == CUT):
        frame = await peer.frame()
        if frame is None:
            return [*found, CUT]
        found.append(frame)
    if found[-1:] and found[-1].opcode == CLOSE:
        return found + await peer.frames()
    with contextlib.suppress(ConnectionError):  # the answer to this says that it was open
        await peer.send(closing(GOODBYE))
    rest = await peer.frames()
    return found + (rest or [CUT])


async def run(case: Case, running: Running, protocol: str, arrival: Arrival) -> str | None:
    """What was wrong, if anything."""
    expected = case.expected(protocol)
    async with connected(running) as peer:
        found = await answers(peer, case, expected, arrival)
    if expected[-1].opcode not in (CLOSE, CUT.opcode):
        expected = (*expected, closed(GOODBYE))
    got = list(map(plainly, found))
    return (
        None
        if got == list(map(plainly, expected))
        else f"{case} ({arrival.__name__}): {got!r:.200}"
    )


@pytest.mark.parametrize("arrival", [whole, torn])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_table(protocol: str, arrival: Arrival) -> None:
    """Every row, and after each the server works for the next."""
    echo = Echo()
    async with serving(echo, protocol, ws_max_size=LIMIT) as running:
        wrong = []
        for at in range(0, len(CASES), 16):
            several = CASES[at : at + 16]
            wrong += await asyncio.gather(
                *(run(one, running, protocol, arrival) for one in several)
            )
        async with connected(running) as peer:
            await peer.send(masked(TEXT, b"still here"))
            assert await peer.frame() == Frame(TEXT, b"still here")
    assert not any(wrong), "\n".join(filter(None, wrong))
    assert len(echo.scopes) == len(CASES) + 1
