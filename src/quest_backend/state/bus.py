"""What nodes may miss of each other: frames, status and telemetry, over sharded pub/sub.

Everything here is bounded and may be lost, which is counted: of a channel's frames only the newest
waits, on either side, of messages a fixed number. What a server between drops, because a node does
not read, is counted by that node from what the others say they sent. What must arrive goes by
``state/changes.py``.
SPUBLISH and SSUBSCRIBE work on any Valkey or Redis from 7 on. With several servers, each has the
channels whose names fall to it.

Hot path: a frame is written in the call that publishes it, and handed on in the turn of the event
loop in which it came. Budget and proof: ``make bench-nodes``.
"""

import asyncio
import secrets
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson

from quest_backend import tasks
from quest_backend.state.link import Link, command

# Payloads that begin with a byte up to this are frames: a newer one takes the place of an older.
FRAME_MARKS = b"\x1f"
# A message that says how many frames a node has published on the channel. Older versions leave it.
_RECKONING = b"N"
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
        self._shards = [
            _Shard(url, timeout_s, counts, self._take, self._frame_left) for url in urls
        ]
        # What came in the same turn of the event loop; of frames the newest of each channel.
        self._came: dict[object, tuple[bytes, bytes]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._name = secrets.token_hex(4)
        self._published: Counter[bytes] = Counter()
        self._said: dict[bytes, int] = {}
        self._frames_in: Counter[bytes] = Counter()
        self._reckoned: dict[bytes, _Reckoned] = {}

    def start(self, received: Callable[[bytes, bytes], None]) -> None:
        """Publish and listen from now on; ``received`` gets channel and payload."""
        self._received = received
        loop = asyncio.get_running_loop()
        links = [link for shard in self._shards for link in (shard.out, shard.into)]
        self._loops = [loop.create_task(link.keep(), name="bus") for link in links]

    async def stop(self) -> None:
        """Publish and hear nothing more."""
        await tasks.end(self._loops)

    def newest(self, channel: bytes, *payload: bytes | memoryview) -> None:
        """Publish a frame, in parts; of what waits in a channel only the newest goes."""
        self._of(channel).newest(channel, payload)

    def message(self, channel: bytes, payload: bytes) -> None:
        """Publish in order; with too many waiting, the oldest is lost."""
        self._of(channel).message(channel, payload)

    def subscribe(self, channels: frozenset[bytes]) -> None:
        """Hear exactly these channels from now on, also after a lost connection."""
        for shard in self._shards:
            shard.subscribe(frozenset(c for c in channels if self._of(c) is shard))
        for channel in self._reckoned.keys() - channels:
            del self._reckoned[channel]
        for channel in self._frames_in.keys() - channels:
            del self._frames_in[channel]

    def reckon(self) -> None:
        """Say how many frames were published on each channel since this was last said."""
        for channel, count in list(self._published.items()):
            if self._said.get(channel) == count:  # it rests
                del self._published[channel], self._said[channel]
                continue
            self.reckon_one(channel)

    def reckon_one(self, channel: bytes) -> None:
        """Say it of one channel now: somebody has begun to listen, and counts from here."""
        self._published[channel] += 0  # so that it is forgotten when it rests
        self._said[channel] = count = self._published[channel]
        self.message(channel, _RECKONING + orjson.dumps([self._name, count]))

    def _frame_left(self, channel: bytes) -> None:
        self._published[channel] += 1

    def _compare(self, channel: bytes, payload: bytes) -> None:
        """What left and never came was dropped between."""
        who, count = orjson.loads(payload[1:])
        came = self._frames_in[channel]
        last = self._reckoned.get(channel)
        if last is not None and last.who == who:
            self.counts.lost += max(0, (count - last.published) - (came - last.came))
        self._reckoned[channel] = _Reckoned(who, count, came)

    def _of(self, channel: bytes) -> "_Shard":
        if len(self._shards) == 1:
            return self._shards[0]
        return self._shards[zlib.crc32(channel) % len(self._shards)]

    def _take(self, channel: bytes, payload: bytes) -> None:
        if payload[:1] == _RECKONING:
            self._compare(channel, payload)
            return
        self.counts.received += 1
        if not self._came:
            # Behind by more than a turn, this node reads on before it sends on.
            asyncio.get_running_loop().call_soon(self._hand_on)
        if payload[:1] > FRAME_MARKS:
            self._came[len(self._came), channel] = (channel, payload)
            return
        self._frames_in[channel] += 1
        if channel in self._came:
            self.counts.lost += 1
        self._came[channel] = (channel, payload)

    def _hand_on(self) -> None:
        came, self._came = self._came, {}
        if self._received is not None:
            for channel, payload in came.values():
                self._received(channel, payload)


class _Reckoned(NamedTuple):
    """Frames of a channel: how many ``who`` had published when so many had come here."""

    who: str
    published: int
    came: int


class _Shard:
    """One server's two connections: a subscriber's may do nothing else."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        counts: Counts,
        take: Callable[[bytes, bytes], None],
        frame_left: Callable[[bytes], None],
    ) -> None:
        self._frame_left = frame_left
        self._counts = counts
        self._take = take
        self.out = Link(url, timeout_s, opened=_nothing, reply=_ignored, resumed=self._flush)
        self.into = Link(
            url, timeout_s, opened=self._subscribe_again, reply=self._came, resumed=_nothing
        )
        self._newest: dict[bytes, Sequence[bytes | memoryview]] = {}
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._wanted: frozenset[bytes] = frozenset()

    def newest(self, channel: bytes, payload: Sequence[bytes | memoryview]) -> None:
        if self.out.ready:
            self._publish(channel, payload)
            self._frame_left(channel)
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

    def _publish(self, channel: bytes, payload: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, payload))
        if payload[0][:1] != _RECKONING:
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
            self._frame_left(name)

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
