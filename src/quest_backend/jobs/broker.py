"""taskiq's broker over a stream of Valkey, with leases: whose worker is gone is given to another.

The library's own (``RedisStreamBroker``) claims what a dead worker left only after a new message
has come, by a fixed time that a slow job may exceed, and keeps every message for ever: decision 8.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from taskiq import AckableMessage
from taskiq.formatters.json_formatter import JSONFormatter
from taskiq_redis import RedisStreamBroker

from quest_backend.jobs.queue import GROUP
from quest_backend.state import keys
from quest_backend.state.primary import Primary

log = structlog.get_logger()

_BLOCK_MS = 1000
_AWAY_S = (0.2, 5.0)
_LOOKED_AT = 20
# A job that ends its worker so often would end every worker.
MOST_DELIVERIES = 4
_GONE_MS = 24 * 3600 * 1000

TRANSIENT = (RedisError, OSError, TimeoutError)


class Delivery(AckableMessage):
    """A job that this worker holds."""

    entry_id: bytes


class LeasedStreamBroker(RedisStreamBroker):
    """The queue as a worker sees it.

    A job is this worker's while its lease is renewed (``renew``); without, another may take it
    after ``lease_s`` seconds.

    Args:
        url: of Valkey.
        timeout_s: longest wait for an answer.
        lease_s: as said.
        lost: hears of a job (its message) that has ended every worker that took it.
    """

    def __init__(
        self, url: str, timeout_s: float, lease_s: float, lost: Callable[[bytes], Awaitable[None]]
    ) -> None:
        # The library's own pool, which is never used, knows no Sentinels.
        super().__init__(
            "redis://", queue_name=keys.QA_JOBS, consumer_group_name=GROUP, consumer_id="0"
        )
        self._primary = Primary(url, timeout_s)
        self.connection_pool = self._primary.pool(
            max_connections=8,
            timeout=timeout_s,
            socket_timeout=timeout_s + _BLOCK_MS / 1000,
            socket_connect_timeout=timeout_s,
        )
        self.with_formatter(JSONFormatter())
        self.is_worker_process = True
        self.lease_s = lease_s
        self._lost = lost
        self._client: Redis = Redis(connection_pool=self.connection_pool)
        self._held: set[bytes] = set()
        self._look_at = 0.0

    async def startup(self) -> None:
        """Nothing is asked of Valkey yet: it may be away."""
        await super(RedisStreamBroker, self).startup()

    async def shutdown(self) -> None:
        """Close every connection."""
        await super().shutdown()
        await self._primary.close()

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Jobs, one at a time, for ever. Waits while Valkey is away."""
        pause = _AWAY_S[0]
        while True:
            try:
                entries = await self._next()
            except TRANSIENT as error:
                if isinstance(error, ResponseError):
                    # No group yet, or no more: Valkey lost its data.
                    await self._declared()
                else:
                    log.warning("qa_queue_away", reason=str(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause = min(pause * 2, _AWAY_S[1])
                continue
            pause = _AWAY_S[0]
            for entry_id, fields in entries:
                self._held.add(entry_id)
                yield Delivery(data=fields[b"data"], ack=self._ack_of(entry_id), entry_id=entry_id)

    async def _declared(self) -> None:
        try:
            await self._declare_consumer_group()
        except TRANSIENT as error:
            log.warning("qa_queue_away", reason=str(error))

    async def _next(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            claimed = await self._claim()
            if claimed:
                return claimed
            self._look_at = now + self.lease_s / 3
        found: Any = await self._client.xreadgroup(
            GROUP, self.consumer_name, {self.queue_name: ">"}, count=1, block=_BLOCK_MS
        )
        return found[0][1] if found else []

    async def _claim(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """One job whose lease is over."""
        lease_ms = int(self.lease_s * 1000)
        rows: Any = await self._client.xpending_range(
            self.queue_name, GROUP, "-", "+", _LOOKED_AT, idle=lease_ms
        )
        for row in rows:
            entry_id = row["message_id"]
            if entry_id in self._held:
                continue
            claimed: Any = await self._client.xclaim(
                self.queue_name, GROUP, self.consumer_name, lease_ms, [entry_id]
            )
            if not claimed:
                continue  # another worker was faster
            if row["times_delivered"] < MOST_DELIVERIES:
                log.warning("qa_job_taken_over", entry=entry_id.decode())
                return [tuple(claimed[0])]
            await self._lost(claimed[0][1][b"data"])
            await self._ack_of(entry_id)()
        return []

    def _ack_of(self, entry_id: bytes) -> Callable[[], Awaitable[None]]:
        async def ack() -> None:
            pipe = self._client.pipeline(transaction=True)
            pipe.xack(self.queue_name, GROUP, entry_id)
            pipe.xdel(self.queue_name, entry_id)
            await pipe.execute()

        return ack

    def let_go(self, delivery: Delivery) -> None:
        """This worker does no more for a job; unless it was done, another one takes it."""
        self._held.discard(delivery.entry_id)

    async def renew(self) -> None:
        """Hold what is held for another lease.

        Raises:
            RedisError, OSError, TimeoutError: Valkey is away.
        """
        held: list[Any] = list(self._held)
        if held:
            await self._client.xclaim(
                self.queue_name, GROUP, self.consumer_name, 0, held, justid=True
            )

    async def forget_workers(self) -> None:
        """Remove workers that ended a day ago from the group's list.

        Raises:
            RedisError, OSError, TimeoutError: Valkey is away.
        """
        rows: Any = await self._client.xinfo_consumers(self.queue_name, GROUP)
        for row in rows:
            if row["pending"] == 0 and row["idle"] > _GONE_MS:
                await self._client.xgroup_delconsumer(self.queue_name, GROUP, row["name"])
