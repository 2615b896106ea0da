"""What nodes may miss of each other: frames, status and telemetry, over sharded pub/sub.

Everything here is bounded and may be lost, which is counted: of a channel's frames only the newest
waits, on either side, of messages a fixed number. What must arrive goes by ``state/changes.py``.
SPUBLISH and SSUBSCRIBE work on any Valkey or Redis from 7 on, one server or a cluster.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from quest_backend import tasks
from quest_backend.state.valkey import OUTAGES, is_outage

log = structlog.get_logger()

# Payloads that begin with a byte up to this are frames: a newer one takes the place of an older.
FRAME_MARKS = b"\x1f"
_MAX_MESSAGES = 2000
_BATCH = 256
_PING_S = 2.0
# So long without a word, pings included, and the connection is given up.
_SILENCE_S = 6.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 2.0


class Counts(Protocol):
    """Numbers that grow."""

    sent: int
    sent_bytes: int
    received: int
    lost: int


class Bus:
    """One node's connection to the channels.

    It always hears ``own``, and what ``subscribe`` adds.
    """

    def __init__(self, url: str, timeout_s: float, own: bytes, counts: Counts) -> None:
        # A connection of each way: a subscriber's may do nothing else.
        self._url = url
        self._timeout_s = timeout_s
        self._received: Callable[[bytes, bytes], None] | None = None
        self.counts = counts
        self._client = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        self._subscriber = redis.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=timeout_s
        )
        self._newest: dict[bytes, bytes] = {}
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._something = asyncio.Event()
        self._own = frozenset([own])
        self._wanted = self._own
        self._pubsub: redis.client.PubSub | None = None
        self._have: frozenset[bytes] = frozenset()
        # What came in the same turn of the event loop; of frames the newest of each channel.
        self._came: dict[object, tuple[bytes, bytes]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._heard_at = 0.0

    def start(self, received: Callable[[bytes, bytes], None]) -> None:
        """Publish and listen from now on; ``received`` gets channel and payload."""
        self._received = received
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._publish(), name="bus-publish"),
            loop.create_task(self._listen(), name="bus-listen"),
        ]

    async def stop(self) -> None:
        """Publish and hear nothing more."""
        await tasks.end(self._loops)
        await self._client.aclose()
        await self._subscriber.aclose()

    # -- Out ---------------------------------------------------------------------------------------

    def newest(self, channel: bytes, payload: bytes) -> None:
        """Publish; of what waits in a channel only the newest goes."""
        if channel in self._newest:
            self.counts.lost += 1
        self._newest[channel] = payload
        self._something.set()

    def message(self, channel: bytes, payload: bytes) -> None:
        """Publish in order; with too many waiting, the oldest is lost."""
        if len(self._messages) >= _MAX_MESSAGES:
            self._messages.popleft()
            self.counts.lost += 1
        self._messages.append((channel, payload))
        self._something.set()

    async def _publish(self) -> None:
        pause = _RETRY_FIRST_S
        while True:
            await self._something.wait()
            self._something.clear()
            batch = [self._messages.popleft() for _ in range(min(_BATCH, len(self._messages)))]
            newest, self._newest = self._newest, {}
            batch.extend(newest.items())
            if self._messages:
                self._something.set()
            try:
                await self._send(batch)
                pause = _RETRY_FIRST_S
            except OUTAGES as error:
                if not is_outage(error):
                    raise
                if pause == _RETRY_FIRST_S:
                    log.warning("bus_cannot_publish", reason=str(error))
                self.counts.lost += len(batch)
                pause = await _rest(pause)

    async def _send(self, batch: list[tuple[bytes, bytes]]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for channel, payload in batch:
            pipe.execute_command("SPUBLISH", channel, payload)
        async with asyncio.timeout(self._timeout_s):
            await pipe.execute()
        self.counts.sent += len(batch)
        self.counts.sent_bytes += sum(len(payload) for _, payload in batch)

    # -- In ----------------------------------------------------------------------------------------

    async def subscribe(self, channels: frozenset[bytes]) -> None:
        """Hear exactly these channels from now on, also after a lost connection."""
        self._wanted = channels | self._own
        with contextlib.suppress(*OUTAGES):  # the listener starts over
            async with asyncio.timeout(self._timeout_s):
                await self._catch_up()

    async def _catch_up(self) -> None:
        pubsub = self._pubsub
        if pubsub is None:
            return
        more, fewer = self._wanted - self._have, self._have - self._wanted
        self._have = self._wanted
        if more:
            await pubsub.ssubscribe(*more)
        if fewer:
            await pubsub.sunsubscribe(*fewer)

    async def _listen(self) -> None:
        pause = _RETRY_FIRST_S
        while True:
            pubsub = self._subscriber.pubsub(ignore_subscribe_messages=True)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await pubsub.ssubscribe(*self._own)
                self._pubsub, self._have = pubsub, self._own
                await self._catch_up()
                pause = _RETRY_FIRST_S
                await self._hear(pubsub)
            except OUTAGES as error:
                if not is_outage(error):
                    raise
                if pause == _RETRY_FIRST_S:
                    log.warning("bus_cannot_listen", reason=str(error))
            finally:
                self._pubsub, self._have = None, frozenset()
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            pause = await _rest(pause)

    async def _hear(self, pubsub: "redis.client.PubSub") -> None:
        """Until the connection is lost, or nothing comes from it, answers to pings included."""
        now = asyncio.get_running_loop().time
        heard_at = now()
        while now() - heard_at < _SILENCE_S:
            answer = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_PING_S)
            if answer is None:
                async with asyncio.timeout(self._timeout_s):
                    await pubsub.ping()
                continue
            heard_at = now()
            if answer["type"] == "smessage":
                self._take(answer["channel"], answer["data"])
        raise TimeoutError("nothing came from the state store")

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


async def _rest(pause_s: float) -> float:
    await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
    return min(_RETRY_CAP_S, pause_s * 2)
