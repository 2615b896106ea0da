"""Connections to the Valkey that takes writes: at a fixed address, or wherever Sentinels say.

With Sentinels every new connection asks them first, so after a failover the next connection is one
to the new primary. Valkey closes the connections of a primary that it makes a replica.
"""

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quest_backend import addresses

# Sentinels are asked one after the other: one that is away may take only a part of a call's time.
_ASK_SHARE = 0.25
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}


class _Sentinels(Sentinel):
    """Asks as Sentinel's guidelines for clients say.

    redis-py's own way (SENTINEL MASTERS) still names the old primary while replicas are being moved
    to the new one.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the primary, as the first Sentinel that answers knows it.

        Raises:
            MasterNotFoundError: none answers, or none knows it.
        """
        problems = []
        for sentinel in list(self.sentinels):
            try:
                found: Any = await sentinel.sentinel_get_master_addr_by_name(service_name)
            except RedisError as error:
                problems.append(str(error))
                continue
            if found:
                return str(found[0]), int(found[1])
            problems.append(f"a Sentinel knows no {service_name!r}")
        raise MasterNotFoundError("; ".join(problems))


class _PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """redis-py's pool of connections to the primary, waiting for one instead of failing."""


class Primary:
    """One address of Valkey, for pools of connections and for connections made otherwise.

    Args:
        url: as ``addresses.parse`` reads it.
        timeout_s: longest wait for an answer.

    Raises:
        ValueError: as ``addresses.parse``.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        address = addresses.parse(url)
        self._url = address.url
        self._service = address.service
        # As redis-py reads them from an address: username, password, path, ssl_ca_certs, …
        self.options: dict[str, Any] = dict(parse_url(address.url))
        self._of_sentinels = {
            name: self.options.pop(key)
            for key, name in _OF_SENTINELS.items()
            if key in self.options
        }
        self.secure = "connection_class" in self.options and "path" not in self.options
        self._sentinel = (
            self._sentinels(address.sentinels, timeout_s) if address.sentinels else None
        )

    def _sentinels(self, places: tuple[tuple[str, int], ...], timeout_s: float) -> Sentinel:
        ask_s = timeout_s * _ASK_SHARE
        tls = {key: value for key, value in self.options.items() if key.startswith("ssl_")}
        return _Sentinels(  # type: ignore[no-untyped-call]  # redis-py types no Sentinel's making
            list(places),
            sentinel_kwargs={
                "socket_timeout": ask_s,
                "socket_connect_timeout": ask_s,
                "decode_responses": True,
                # Another one is asked instead.
                "retry": Retry(NoBackoff(), 0),
                **({"ssl": True, **tls} if self.secure else {}),
                **self._of_sentinels,
            },
        )

    def pool(
        self, *, max_connections: int, timeout: float, **options: Any
    ) -> BlockingConnectionPool:
        """A pool that waits ``timeout`` seconds for a free connection. Nothing is opened yet."""
        if self._sentinel is None:
            return BlockingConnectionPool.from_url(
                self._url, max_connections=max_connections, timeout=timeout, **options
            )
        given = {k: v for k, v in self.options.items() if k not in ("host", "port")}
        given["connection_class"] = (
            SentinelManagedSSLConnection if self.secure else SentinelManagedConnection
        )
        limits = {"max_connections": max_connections, "timeout": timeout}
        everything = {**options, **given, **limits}
        return _PrimaryPool(self._service, self._sentinel, **everything)  # type: ignore[no-untyped-call]  # as above

    async def place(self) -> tuple[str, int]:
        """Host and port, as they are now, of a Valkey that is reached by TCP.

        Raises:
            OSError: no Sentinel knows a primary.
        """
        if self._sentinel is None:
            return self.options.get("host", "localhost"), self.options.get("port", 6379)
        try:
            host, port = await self._sentinel.discover_master(self._service)
        except RedisError as error:
            raise OSError(str(error)) from error
        return host, port

    def doubt(self) -> None:
        """What was found is of no use: ask another Sentinel first the next time."""
        if self._sentinel is not None:
            self._sentinel.sentinels.append(self._sentinel.sentinels.pop(0))

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        if self._sentinel is not None:
            await asyncio.shield(self._sentinel.aclose())
