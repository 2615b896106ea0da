"""Who may call: device tokens, the admin key, and how often."""

import secrets
import time
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote

import structlog
from fastapi import Depends, Header, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import Rate
from quest_backend.state.primary import Primary
from quest_backend.state.valkey import Valkey
from quest_backend.tokens import Identity, InvalidToken

log = structlog.get_logger()

# Only for the OpenAPI document; the checks are below, with errors of our own form.
_bearer = HTTPBearer(auto_error=False, description="A token of /auth/device-token")
_api_key = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="The admin key. X-Admin-Name beside it, percent-encoded UTF-8 of at most 80 "
    "characters, says who uses it: kept with reviews and in the audit trail, and not checked",
)
_MOST_NAME = 80
# Names of some languages are not written without them.
_JOINERS = "\u200c\u200d"


class Caller:
    """Who calls: an admin, or whom the token names.

    ``claimed`` is what an admin says to be called, '' when it says nothing. Whoever has the key can
    say anything, so it is shown beside ``name`` and never decides what is allowed.
    """

    def __init__(self, identity: Identity | None, claimed: str = "") -> None:
        self.identity = identity
        self.claimed = claimed

    @property
    def is_admin(self) -> bool:
        """Whether it came with the admin key."""
        return self.identity is None

    @property
    def name(self) -> str:
        """For the audit trail."""
        return self.identity.device_id if self.identity else "admin"


def _caller(request: Request) -> Caller:
    tokens = context_of(request).tokens
    key = request.headers.get("x-api-key")
    if key is not None:
        if tokens.is_admin(key):
            return Caller(None, claimed_name(request.headers.get("x-admin-name", "")))
        raise ApiError(403, "Wrong X-API-Key")
    header = request.headers.get("authorization")
    if header is None:
        raise ApiError(
            401, "Send a device token as 'Authorization: Bearer …'", {"WWW-Authenticate": "Bearer"}
        )
    scheme, _, token = header.partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise InvalidToken("not a Bearer token")
        return Caller(tokens.read(token.strip()))
    except InvalidToken:
        raise ApiError(401, "Invalid or expired token", {"WWW-Authenticate": "Bearer"}) from None


def claimed_name(header: str) -> str:
    """The value of an X-Admin-Name header as people read it; '' for none.

    Raises:
        ApiError: 400, not UTF-8, too long, or with characters that cannot be seen.
    """
    try:
        text = unicodedata.normalize("NFC", unquote(header, errors="strict"))
    except UnicodeDecodeError:
        raise ApiError(400, "X-Admin-Name must be percent-encoded UTF-8") from None
    name = " ".join(text.split())
    if len(name) > _MOST_NAME:
        raise ApiError(400, f"X-Admin-Name must have at most {_MOST_NAME} characters")
    # What turns the direction of text or ends a line could make one name look like another.
    if not all(char.isprintable() or char in _JOINERS for char in name):
        raise ApiError(400, "X-Admin-Name must have no characters that cannot be seen")
    return name


def any_token(request: Request, _: Any = Depends(_bearer), __: Any = Depends(_api_key)) -> Caller:
    """Any device token, or the admin key."""
    return _caller(request)


def only(*types: DeviceType) -> Callable[..., Caller]:
    """Tokens of these device types, or the admin key."""

    def check(request: Request, _: Any = Depends(_bearer), __: Any = Depends(_api_key)) -> Caller:
        caller = _caller(request)
        if caller.identity is not None and caller.identity.device_type not in types:
            raise ApiError(403, f"A {caller.identity.device_type} token may not do that")
        return caller

    return check


def admin(
    request: Request,
    _: Any = Depends(_api_key),
    x_api_key: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Caller:
    """The admin key only."""
    if x_api_key is None:
        if "authorization" in request.headers and not _caller(request).is_admin:
            raise ApiError(403, "Only for admins: send the X-API-Key header")
        raise ApiError(401, "Send the admin key as X-API-Key")
    return _caller(request)


Admin = Annotated[Caller, Depends(admin)]


_CONNECTIONS = 32

# Of each group of paths, for people to read; filled as paths are declared.
HTTP_LIMITS: dict[str, Rate] = {}


class HttpLimiter:
    """Requests per client address, counted in Valkey so that they hold over several nodes."""

    def __init__(self, redis_url: str, multiplier: float, timeout_s: float, valkey: Valkey) -> None:
        """``valkey`` knows when the store is away: whoever waited here waits nowhere else."""
        self._valkey = valkey
        self._primary = Primary(redis_url, timeout_s)
        self._pool = self._primary.pool(
            max_connections=_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="http_limits",
            wrap_exceptions=False,
            **options,
        )
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._multiplier = multiplier
        self.node = secrets.token_hex(6)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.disconnect()
        await self._primary.close()

    async def check(self, group: str, item: RateLimitItem, client: str) -> None:
        """Count a request.

        Raises:
            ApiError: 429, with when to come back.
        """
        scaled = RateLimitItemPerSecond(
            max(1, int(item.amount * self._multiplier)), item.get_expiry()
        )
        try:
            if await self._valkey.call(self._limiter.hit(scaled, group, client)):
                return
            stats = await self._valkey.call(self._limiter.get_window_stats(scaled, group, client))
        except Exception as error:  # noqa: BLE001 - the store's driver raises what it likes
            # With the store away, everything that needs it answers 503; health must still answer.
            log.warning("http_limits_not_counted", reason=str(error))
            return
        wait = max(1, int(stats.reset_time - time.time()) + 1)
        raise ApiError(
            429,
            f"Too many requests; try again in {wait} s",
            {"Retry-After": str(wait)},
            retryAfter=wait,
        )


def limited(
    group: str, count: int, window_s: int = 60, *, per_node: bool = False
) -> Callable[[Request], Awaitable[None]]:
    """At most ``count`` requests per window and client address, over all paths of ``group``.

    ``per_node``: of each node. One Prometheus asks all of them from one address.
    """
    HTTP_LIMITS[group] = Rate(count, window_s)
    item = RateLimitItemPerSecond(count, window_s)

    async def check(request: Request) -> None:
        context = context_of(request)
        client = request.client.host if request.client else "unknown"
        counted = f"{group}@{context.limiter.node}" if per_node else group
        await context.limiter.check(counted, item, client)

    return check
