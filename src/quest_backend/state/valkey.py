"""The connection to Valkey: timeouts, one retry, and the scripts."""

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from quest_backend.state.primary import Primary


class StoreUnavailable(Exception):  # noqa: N818 - a state, not a bug
    """Valkey did not answer in time. Nothing is known to have changed; try again."""


_MAX_CONNECTIONS = 32
OUTAGES = (RedisError, OSError, TimeoutError, RuntimeError)
_ENDING = "local answer = script()\nannounce()\nreturn answer\n"
# So many calls in a row failed, or one waited its whole time: for a moment others fail at once. A
# request of several calls then waits for one of them only, also when it can do without the first.
_FAILURES = 2
_PAUSE_S = 0.3
_PAUSES = "the state store did not answer a moment ago"
# What a Valkey says that waits for its replicas, has just been made one, or cannot write to its
# disk; in a transaction after other words.
_NOT_NOW = re.compile(
    r"(?:^|: (?:\(['\"])?)(?:NOREPLICAS|MASTERDOWN|UNBLOCKED|MISCONF|READONLY|OOM) "
)
# A timeout that is noticed so late says that this process stood still, not that Valkey is silent.
_LATE_S = 0.5


def is_outage(error: BaseException) -> bool:
    """Whether one of ``OUTAGES`` says that the connection is lost."""
    # uvloop says so of a write to a connection that has just closed.
    return not isinstance(error, RuntimeError) or "handler is closed" in str(error)


def takes_no_changes(error: ResponseError) -> bool:
    """Whether a refusal is for now, not for what was asked: nothing was changed, try again."""
    return _NOT_NOW.search(str(error)) is not None


@cache
def _source(name: str) -> str:
    folder = resources.files("quest_backend.state") / "lua"
    common, body = ((folder / f"{part}.lua").read_text() for part in ("common", name))
    return f"{common}\nlocal function script()\n{body}\nend\n{_ENDING}"


class Valkey:
    """A pool of connections, each call bounded by ``timeout_s``."""

    def __init__(self, url: str, timeout_s: float, constants: dict[str, Any] | None = None) -> None:
        self._primary = Primary(url, timeout_s)
        # A storm of commands waits its turn for a connection; it does not fail, nor open thousands.
        pool = self._primary.pool(
            max_connections=_MAX_CONNECTIONS,
            timeout=timeout_s,
            decode_responses=True,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2),
        )
        self.client: redis.Redis = redis.Redis.from_pool(pool)
        self._timeout_s = timeout_s
        self._constants = constants or {}
        self._scripts: dict[str, Any] = {}
        self._failures = 0
        self._pause_until = 0.0

    async def call(self, command: Awaitable[Any]) -> Any:
        """The answer of a command, as untyped as redis-py's own (its stubs mix text and bytes).

        Raises:
            StoreUnavailable: no connection, or no answer in time.
        """
        now = asyncio.get_running_loop().time
        asked_at = now()
        task = asyncio.current_task()
        cancelled = task.cancelling() if task is not None else 0
        if self._pauses():
            if inspect.iscoroutine(command):
                command.close()
            raise StoreUnavailable(_PAUSES)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await command
        except (ReadOnlyError, OutOfMemoryError) as error:
            # A replica until the failover is through; or it takes nothing new.
            raise StoreUnavailable(f"the state store takes no changes: {error}") from error
        except ResponseError as error:
            if takes_no_changes(error):
                # Sentinels tell a primary last that it is none any more; no connection stays there.
                self._primary.doubt()
                await self.client.connection_pool.disconnect()
                raise StoreUnavailable(f"the state store takes no changes: {error}") from error
            raise  # a bug of ours, not an outage
        except OUTAGES as error:
            if not is_outage(error):
                raise
            self._primary.doubt()
            in_time = now() - asked_at < self._timeout_s + _LATE_S
            silent = isinstance(error, TimeoutError | NoAnswer) and in_time
            self._failures += _FAILURES if silent else 1
            self._pause_until = now() + _PAUSE_S
            raise StoreUnavailable(f"the state store does not answer: {error}") from error
        self._failures = 0
        if task is not None and task.cancelling() > cancelled:
            # redis-py sends under ``asyncio.wait_for``, which on Python 3.11 can swallow a
            # cancellation (bpo-42130): who was told to stop would go on.
            raise asyncio.CancelledError
        return answer

    async def script(self, name: str, /, **arguments: Any) -> Any:
        """Run ``lua/{name}.lua`` with ``arguments`` (those that are None are left out).

        Raises:
            StoreUnavailable: as ``call``.
        """
        if name not in self._scripts:
            self._scripts[name] = self.client.register_script(_source(name))
        given = {key: value for key, value in arguments.items() if value is not None}
        payload = json.dumps({**self._constants, **given})
        return await self.call(self._scripts[name](args=[payload]))

    async def read_streams(self, read_to: Mapping[str, str], count: int, block_ms: int) -> Any:
        """XREAD: what came after ``read_to`` in each stream; waits a little when there is nothing.

        Raises:
            StoreUnavailable: as ``call``.
        """
        # redis-py makes a second coroutine inside this one, which nobody could close unawaited.
        if self._pauses():
            raise StoreUnavailable(_PAUSES)
        streams: dict[Any, Any] = dict(read_to)  # the stubs' own keys and values, invariant
        return await self.call(self.client.xread(streams, count=count, block=block_ms))

    def _pauses(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._failures >= _FAILURES and now < self._pause_until

    async def ping(self) -> None:
        """Raises StoreUnavailable when Valkey is away."""
        await self.call(self.client.ping())

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
        await self._primary.close()
