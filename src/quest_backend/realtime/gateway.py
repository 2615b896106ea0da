"""Every event passes here once: known, within its rate, from the right role, of the right form."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol
from urllib.parse import parse_qs

import structlog

from quest_backend.protocol.catalogue import INBOUND
from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.protocol.events import SENDERS, DeviceType, Inbound
from quest_backend.protocol.limits import DEFAULT_RATE
from quest_backend.realtime.connections import Connection
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.rates import RateWindows
from quest_backend.sockets.session import TOO_SLOW
from quest_backend.sockets.socketio import Client, ConnectRefused, Tap
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.state.versions import NewerRecord
from quest_backend.tokens import Identity, InvalidToken, Tokens

log = structlog.get_logger()

# What waits for nothing is a plain function: it runs as the packet comes, without a task.
Handler = Callable[..., Any]
Lifecycle = Callable[[Connection], Awaitable[None]]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A handler refuses an event: what the client's ``error`` says."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class RawFrames(Protocol):
    """What takes frames that were not decoded."""

    def tap(self, connection: Connection) -> Tap:
        """For the messages of one headset."""


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
        frames: RawFrames,
        opened: Lifecycle,
        closed: Lifecycle,
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._opened = opened
        self._closed = closed
        self._counters: dict[str, Any] = {}
        self.frames = frames
        self.handlers: dict[str, Handler] = {}
        for feature in features:
            for name in dir(type(feature)):
                handler = getattr(feature, name)
                event = getattr(handler, "event", None)
                if isinstance(event, Inbound):
                    self.handlers[event.name] = handler

    # -- Door --------------------------------------------------------------------------------------

    def authenticate(self, client: Client, auth: Any, query: str) -> None:
        """Who connects: ``auth.token``, or query ``token`` for old clients.

        Raises:
            ConnectRefused: no valid token, and one is needed.
        """
        auth = auth if isinstance(auth, dict) else {}
        token = auth.get("token")
        if token is None:
            token = parse_qs(query).get("token", [None])[0]
        who: Identity | None = None
        try:
            who = self._tokens.read(token)
        except InvalidToken as error:
            if self._hub.settings.socket_auth != "optional":
                raise ConnectRefused(
                    "Authentication failed: send a token of /auth/device-token as auth.token"
                ) from error
        client.state = Connection(
            client=client,
            # ':' is in no device id, so no token can be for somebody's anonymous socket.
            identity=who.device_id if who else f"anonymous:{client.sid}",
            device_type=who.device_type if who else DeviceType.TABLET,
            authenticated=who is not None,
            opened_at=self._hub.clock.monotonic(),
            rates=RateWindows(self._hub.settings.rate_limit_multiplier),
            frames_v2=auth.get("frames") == "v2",
        )

    def opened(self, client: Client) -> Coroutine[Any, Any, None]:
        """A client has connected."""
        connection: Connection = client.state
        self._hub.connections.add(connection)
        self._count(connection, "connect")
        return self._guard(connection, self._opened(connection))

    async def closed(self, client: Client, reason: str) -> None:
        """A client is gone."""
        connection: Connection = client.state
        self._count(connection, "disconnect")
        log.debug("socket_closed", sid=client.sid, identity=connection.identity, reason=reason)
        metrics = self._hub.metrics
        if reason == TOO_SLOW:
            metrics.slow_clients.inc()
            log.warning("slow_client_disconnected", identity=connection.identity)
        metrics.connection_duration.labels(connection.device_type).observe(
            self._hub.clock.monotonic() - connection.opened_at
        )
        await self._guard(connection, self._closed(connection))

    def _count(self, connection: Connection, event: str) -> None:
        self._hub.metrics.device_connections.labels(connection.device_type, event).inc()

    def malformed(self, client: Client, problem: str) -> None:
        """Something that is no event."""
        connection: Connection = client.state
        if self._within_rate(connection, "malformed", None):
            self._refuse(connection, "malformed", ErrorCode.INVALID_INPUT, problem)

    def tap(self, client: Client) -> Tap | None:
        """The hot path: a headset's frames are not decoded."""
        connection: Connection = client.state
        if connection.device_type is not DeviceType.HEADSET:
            return None
        return self.frames.tap(connection)

    def event(
        self, client: Client, name: str, args: list[Any], ack_id: int | None
    ) -> Coroutine[Any, Any, None] | None:
        """An event: refused with a reason, or handed to its feature."""
        connection: Connection = client.state
        reply = self._reply(connection, name, args)
        if inspect.isawaitable(reply):
            return self._acknowledge_later(connection, reply, ack_id)
        if ack_id is not None:
            self._hub.outbox.acknowledge(connection, ack_id, reply)
        return None

    async def _acknowledge_later(
        self, connection: Connection, reply: Awaitable[Any], ack_id: int | None
    ) -> None:
        answer = await reply
        if ack_id is not None:
            self._hub.outbox.acknowledge(connection, ack_id, answer)

    def _reply(self, connection: Connection, name: str, args: list[Any]) -> Any:
        """The ack's content, or something to await for it."""
        event = INBOUND.get(name)
        label = event.name if event else "unknown"
        if not self._within_rate(connection, label, event):
            return _failure("Rate limited", event, args)
        self._came(label)
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
        try:
            answer = self.handlers[name](connection, *values)
        except Exception as error:  # noqa: BLE001 - ends this one event only; logged below
            return self._failed(connection, error, event, args)
        if inspect.isawaitable(answer):
            return self._guard(connection, answer, event, args)
        return answer

    def _came(self, label: str) -> None:
        counters = self._counters.get(label)
        if counters is None:
            metrics = self._hub.metrics
            counters = (
                metrics.socket_messages.labels(label, "in"),
                metrics.socket_events.labels(label),
            )
            self._counters[label] = counters
        for counter in counters:
            counter.inc()

    def _within_rate(
        self, connection: Connection, label: str, event: Inbound | None, now: float | None = None
    ) -> bool:
        rate = event.rate if event else DEFAULT_RATE
        if connection.rates.allow(label, rate, self._hub.clock.monotonic() if now is None else now):
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
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - answered or logged below
            return self._failed(connection, error, event, args)

    def _failed(
        self,
        connection: Connection,
        error: Exception,
        event: Inbound | None,
        args: list[Any] | None,
    ) -> Any:
        label = event.name if event else "connection"
        if isinstance(error, InvalidPayload | Refused):
            code, message = error.code, str(error)
        elif isinstance(error, StoreUnavailable):
            log.warning("event_refused_store_away", event_name=label, sid=connection.sid)
            self._hub.unsure = True
            code, message = ErrorCode.UNAVAILABLE, "The state store is down; try again shortly"
        elif isinstance(error, NewerRecord):
            code, message = ErrorCode.UNAVAILABLE, str(error)
        else:
            log.error("event_failed", event_name=label, sid=connection.sid, exc_info=error)
            code, message = ErrorCode.INTERNAL_ERROR, "Internal error"
        return self._refuse(connection, label, code, message, event, args)


def _failure(message: str, event: Inbound | None, args: list[Any]) -> dict[str, Any]:
    """The ack of a refused event, in the shape of the event's own acks."""
    reply: dict[str, Any] = {"success": False, "error": message}
    if event and event.ack and event.args and args and isinstance(args[0], str):
        reply["deviceId"] = args[0][:64]
    return reply
