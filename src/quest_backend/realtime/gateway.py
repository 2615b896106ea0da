"""Every event passes here once: known, within its rate, from the right role, of the right form."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import structlog

from quest_backend.protocol.catalogue import INBOUND
from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.protocol.events import SENDERS, DeviceType, Inbound
from quest_backend.protocol.limits import DEFAULT_RATE
from quest_backend.realtime.connections import Connection
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.rates import RateWindows
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.tokens import Identity, InvalidToken, Tokens

log = structlog.get_logger()

Handler = Callable[..., Awaitable[Any]]
Lifecycle = Callable[[Connection], Awaitable[None]]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A handler refuses an event: what the client's ``error`` says."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def handles(event: Inbound) -> Callable[[Handler], Handler]:
    """Mark a feature's method as the handler of ``event``; it gets the connection and the args."""

    def mark(handler: Handler) -> Handler:
        handler.event = event  # type: ignore[attr-defined]  # read by Gateway
        return handler

    return mark


class Gateway:
    """The door between sockets and features."""

    def __init__(
        self,
        hub: Hub,
        tokens: Tokens,
        features: Iterable[object],
        *,
        opened: Lifecycle,
        closed: Lifecycle,
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._opened = opened
        self._closed = closed
        self.handlers: dict[str, Handler] = {}
        for feature in features:
            for name in dir(type(feature)):
                handler = getattr(feature, name)
                event = getattr(handler, "event", None)
                if isinstance(event, Inbound):
                    self.handlers[event.name] = handler

    def authenticate(self, environ: dict[str, Any], auth: Any) -> Identity | None:
        """Who connects: ``auth.token``, or query ``token`` for old clients. None: nobody known.

        Raises:
            ConnectionRefusedError: no valid token, and one is needed.
        """
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None:
            token = parse_qs(environ.get("QUERY_STRING", "")).get("token", [None])[0]
        try:
            return self._tokens.read(token)
        except InvalidToken as error:
            if self._hub.settings.socket_auth == "optional":
                return None
            raise ConnectionRefusedError(
                "Authentication failed: send a token of /auth/device-token as auth.token"
            ) from error

    async def opened(self, sid: str, eio_sid: str, who: Identity | None) -> None:
        """A client has connected."""
        connection = Connection(
            sid=sid,
            eio_sid=eio_sid,
            # ':' is in no device id, so no token can be for somebody's anonymous socket.
            identity=who.device_id if who else f"anonymous:{sid}",
            device_type=who.device_type if who else DeviceType.TABLET,
            authenticated=who is not None,
            opened_at=self._hub.clock.monotonic(),
            rates=RateWindows(self._hub.settings.rate_limit_multiplier),
        )
        self._hub.connections.add(connection)
        self._count(connection, "connect")
        await self._guard(connection, self._opened(connection))

    async def closed(self, sid: str, reason: str) -> None:
        """A client is gone."""
        connection = self._hub.connections.by_sid.get(sid)
        if connection is None:
            return
        self._count(connection, "disconnect")
        log.debug("socket_closed", sid=sid, identity=connection.identity, reason=reason)
        self._hub.metrics.connection_duration.labels(connection.device_type).observe(
            self._hub.clock.monotonic() - connection.opened_at
        )
        await self._guard(connection, self._closed(connection))

    def _count(self, connection: Connection, event: str) -> None:
        self._hub.metrics.device_connections.labels(connection.device_type, event).inc()

    def malformed(self, sid: str, problem: str) -> None:
        """Something that is no event."""
        connection = self._hub.connections.by_sid.get(sid)
        if connection is not None and self._within_rate(connection, "malformed", None):
            self._refuse(connection, "malformed", ErrorCode.INVALID_INPUT, problem)

    async def event(self, sid: str, name: str, args: list[Any], ack_id: int | None) -> None:
        """An event: refused with a reason, or handed to its feature."""
        connection = self._hub.connections.by_sid.get(sid)
        if connection is None:
            return
        reply = await self._reply(connection, name, args)
        if ack_id is not None:
            self._hub.outbox.acknowledge(connection, ack_id, reply)

    async def _reply(self, connection: Connection, name: str, args: list[Any]) -> Any:
        event = INBOUND.get(name)
        label = event.name if event else "unknown"
        if not self._within_rate(connection, label, event):
            return _failure("Rate limited", event, args)
        metrics = self._hub.metrics
        metrics.socket_messages.labels(label, "in").inc()
        metrics.socket_events.labels(label).inc()
        if event is None:
            return self._refuse(
                connection, label, ErrorCode.INVALID_INPUT, f"Unknown event {name[:64]!r}"
            )
        if connection.device_type not in SENDERS[event.role]:
            return self._refuse(
                connection,
                label,
                ErrorCode.FORBIDDEN,
                f"A {connection.device_type} may not send {name}",
            )
        try:
            values = event.parse(args)
        except InvalidPayload as error:
            return self._invalid(connection, event, args, error)
        return await self._guard(connection, self.handlers[name](connection, *values), event, args)

    def _within_rate(self, connection: Connection, label: str, event: Inbound | None) -> bool:
        rate = event.rate if event else DEFAULT_RATE
        if connection.rates.allow(label, rate, self._hub.clock.monotonic()):
            return True
        self._hub.metrics.refused_events.labels(label, "rate").inc()
        return False

    def _invalid(
        self, connection: Connection, event: Inbound, args: list[Any], error: InvalidPayload
    ) -> Any:
        if event.failure is None:
            return self._refuse(connection, event.name, error.code, str(error), event, args)
        self._hub.metrics.refused_events.labels(event.name, "invalid").inc()
        first = args[0] if args else None
        body: dict[str, Any] = {"error": str(error)}
        if isinstance(first, list):
            failed = [one[:64] for one in first[:1000] if isinstance(one, str)]
            body = {"locked": [], "failed": failed, **body}
        elif "failed" in str(event.failure.args[0].type.__annotations__):
            body = {"locked": [], "failed": [], **body}
        elif isinstance(first, str):
            body["sessionId"] = first[:100]
        self._hub.outbox.send(connection, event.failure, body)
        return _failure(str(error), event, args)

    def _refuse(
        self,
        connection: Connection,
        label: str,
        code: ErrorCode,
        message: str,
        event: Inbound | None = None,
        args: list[Any] | None = None,
    ) -> Any:
        self._hub.metrics.refused_events.labels(label, code.value.lower()).inc()
        self._hub.outbox.refuse(connection, code, message)
        return _failure(message, event, args or [])

    async def _guard(
        self,
        connection: Connection,
        work: Awaitable[Any],
        event: Inbound | None = None,
        args: list[Any] | None = None,
    ) -> Any:
        """Run a handler; whatever it raises ends this one event only."""
        label = event.name if event else "connection"
        try:
            return await work
        except InvalidPayload as error:
            return self._refuse(connection, label, error.code, str(error), event, args)
        except Refused as error:
            return self._refuse(connection, label, error.code, str(error), event, args)
        except StoreUnavailable:
            log.warning("event_refused_store_away", event_name=label, sid=connection.sid)
            return self._refuse(
                connection,
                label,
                ErrorCode.UNAVAILABLE,
                "The state store is down; try again shortly",
                event,
                args,
            )
        except Exception:
            log.exception("event_failed", event_name=label, sid=connection.sid)
            return self._refuse(
                connection, label, ErrorCode.INTERNAL_ERROR, "Internal error", event, args
            )


def _failure(message: str, event: Inbound | None, args: list[Any]) -> dict[str, Any]:
    """The ack of a refused event, in the shape of the event's own acks."""
    reply: dict[str, Any] = {"success": False, "error": message}
    if event and event.ack and event.args and args and isinstance(args[0], str):
        reply["deviceId"] = args[0][:64]
    return reply
