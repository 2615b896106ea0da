"""What nodes may miss of each other: frames, status and telemetry, over sharded pub/sub.

Everything here is bounded and may be lost, which is counted: of a channel's frames only the newest
waits, on either side, of messages a fixed number. What must arrive goes by ``state/changes.py``.
SPUBLISH and SSUBSCRIBE work on any Valkey or Redis from 7 on. With several servers, each has the
channels whose names fall to it.

Hot path: a frame is written in the call that publishes it, and handed on in the turn of the event
loop in which it came. Budget and proof: ``make bench-nodes``.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from quest_backend import tasks
from quest_backend.state.link import Link, command

# Payloads that begin with a byte up to this are frames: a newer one takes the place of an older.
FRAME_MARKS = b"\x1f"
_MAX_MESSAGES = 2000


class Counts(Protocol):
    """Numbers that grow."""

    sent: int
    sent_bytes: int
    received: int
    lost: int


class Bus:
    """One node's connection to the channels."""

    def __init__(self, urls: Sequence[str], timeout_s: float, counts: Counts) -> None:
        self.counts = counts
        self._received: Callable[[bytes, bytes], None] | None = None
        self._shards = [_Shard(url, timeout_s, counts, self._take) for url in urls]
        # What came in the same turn of the event loop; of frames the newest of each channel.
        self._came: dict[object, tuple[bytes, bytes]] = {}
        self._loops: list[asyncio.Task[None]] = []

    def start(self, received: Callable[[bytes, bytes], None]) -> None:
        """Publish and listen from now on; ``received`` gets channel and payload."""
        self._received = received
        loop = asyncio.get_running_loop()
        links = [link for shard in self._shards for link in (shard.out, shard.into)]
        self._loops = [loop.create_task(link.keep(), name="bus") for link in links]

    async def stop(self) -> None:
        """Publish and hear nothing more."""
        await tasks.end(self._loops)

    def newest(self, channel: bytes, *payload: bytes) -> None:
        """Publish a frame, in parts; of what waits in a channel only the newest goes."""
        self._of(channel).newest(channel, payload)

    def message(self, channel: bytes, payload: bytes) -> None:
        """Publish in order; with too many waiting, the oldest is lost."""
        self._of(channel).message(channel, payload)

    def subscribe(self, channels: frozenset[bytes]) -> None:
        """Hear exactly these channels from now on, also after a lost connection."""
        for shard in self._shards:
            shard.subscribe(frozenset(c for c in channels if self._of(c) is shard))

    def _of(self, channel: bytes) -> "_Shard":
        if len(self._shards) == 1:
            return self._shards[0]
        return self._shards[zlib.crc32(channel) % len(self._shards)]

    def _take(self, channel: bytes, payload: bytes) -> None:
        self.counts.received += 1
        if not self._came:
            # Behind by more than a turn, this node reads on before it sends on.
            asyncio.get_running_loop().call_soon(self._hand_on)
        if payload[:1] > FRAME_MARKS:
            self._came[len(self._came), channel] = (channel, payload)
            return
        if channel in self._came:
            self.counts.lost += 1
        self._came[channel] = (channel, payload)

    def _hand_on(self) -> None:
        came, self._came = self._came, {}
        if self._received is not None:
            for channel, payload in came.values():
                self._received(channel, payload)


class _Shard:
    """One server's two connections: a subscriber's may do nothing else."""

    def __init__(
        self, url: str, timeout_s: float, counts: Counts, take: Callable[[bytes, bytes], None]
    ) -> None:
        self._counts = counts
        self._take = take
        self.out = Link(url, timeout_s, opened=_nothing, reply=_ignored, resumed=self._flush)
        self.into = Link(
            url, timeout_s, opened=self._subscribe_again, reply=self._came, resumed=_nothing
        )
        self._newest: dict[bytes, Sequence[bytes]] = {}
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._wanted: frozenset[bytes] = frozenset()

    def newest(self, channel: bytes, payload: Sequence[bytes]) -> None:
        if self.out.ready:
            self._publish(channel, payload)
            return
        if not self.out.connected or channel in self._newest:
            self._counts.lost += 1
        if self.out.connected:
            self._newest[channel] = payload

    def message(self, channel: bytes, payload: bytes) -> None:
        if self.out.ready:
            self._publish(channel, (payload,))
            return
        if not self.out.connected:
            self._counts.lost += 1
            return
        if len(self._messages) >= _MAX_MESSAGES:
            self._messages.popleft()
            self._counts.lost += 1
        self._messages.append((channel, payload))

    def _publish(self, channel: bytes, payload: Sequence[bytes]) -> None:
        size = sum(map(len, payload))
        self._counts.sent += 1
        self._counts.sent_bytes += size
        self.out.write((b"%b$%d\r\n" % (_head(channel), size), *payload, b"\r\n"))

    def _flush(self) -> None:
        while self._messages and self.out.ready:
            channel, payload = self._messages.popleft()
            self._publish(channel, (payload,))
        while self._newest and self.out.ready:
            name, parts = self._newest.popitem()
            self._publish(name, parts)

    def subscribe(self, channels: frozenset[bytes]) -> None:
        more, fewer = channels - self._wanted, self._wanted - channels
        self._wanted = channels
        if more:
            self.into.write([command(b"SSUBSCRIBE", *more)])
        if fewer:
            self.into.write([command(b"SUNSUBSCRIBE", *fewer)])

    def _subscribe_again(self) -> None:
        if self._wanted:
            self.into.write([command(b"SSUBSCRIBE", *self._wanted)])

    def _came(self, reply: Any) -> None:
        if isinstance(reply, list) and reply[0] == b"smessage":
            self._take(reply[1], reply[2])


@lru_cache(4096)
def _head(channel: bytes) -> bytes:
    return b"*3\r\n$8\r\nSPUBLISH\r\n$%d\r\n%b\r\n" % (len(channel), channel)


def _nothing() -> None:
    pass


def _ignored(_reply: Any) -> None:
    pass
