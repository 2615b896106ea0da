"""The server, put together: stores, socket edge, REST edge, one ASGI app."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from quest_backend import __version__
from quest_backend.api import (
    audit,
    auth,
    console,
    errors,
    fleet,
    forms,
    operations,
    sessions,
    tablets,
    uploads,
)
from quest_backend.api.access import HttpLimiter
from quest_backend.api.context import Context, Readiness
from quest_backend.api.middleware import Edge
from quest_backend.api.objects import ObjectDoor
from quest_backend.clock import Clock
from quest_backend.fleet.devices import FleetView
from quest_backend.metrics import Live, Metrics
from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import DEVICE_STATE_TTL_S, MAX_MESSAGE_BYTES, SESSION_TTL_S
from quest_backend.realtime.connections import DASHBOARDS, Connections
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.lists import ListBroadcaster
from quest_backend.realtime.node import Node
from quest_backend.realtime.outbox import Feed, Outbox
from quest_backend.realtime.revocation import Revocation
from quest_backend.settings import Settings
from quest_backend.sockets.engine import EngineServer, mounted
from quest_backend.sockets.socketio import Door, SocketIo
from quest_backend.state.audit import AuditTrail
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.fleet import FleetStore
from quest_backend.state.sessions import SessionStore
from quest_backend.state.tablets import TabletRegistry
from quest_backend.state.telemetry import TelemetryWriter
from quest_backend.state.valkey import Valkey
from quest_backend.storage.service import Storage, embedded_store
from quest_backend.tokens import Secrets, Tokens

log = structlog.get_logger()

# A socket that does not say who it is; and what sockets may still do when the server stops.
_CONNECT_TIMEOUT_S = 20
_FINISH_S = 2
# Clients that are sent away leave within this time.
_LEAVE_S = 4.0


class Children:
    """The embedded stores that these settings need."""

    def __init__(self, settings: Settings) -> None:
        self._redis_url = settings.redis_url
        self.valkey = None if settings.redis_url else EmbeddedValkey(settings.data_dir)
        self.s3 = embedded_store(settings, settings.data_dir)

    async def start(self) -> str:
        """Start them side by side; the URL of the state store.

        Raises:
            ChildError: one did not start; the other is stopped.
        """
        children = [child for child in (self.valkey, self.s3) if child is not None]
        results = await asyncio.gather(*(c.start() for c in children), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                await self.stop()
                raise result
        return self._redis_url or (self.valkey.url if self.valkey else "")

    async def stop(self) -> None:
        """Stop those that run, with everything on disk."""
        for child in (self.s3, self.valkey):
            if child is not None:
                await child.stop()


@dataclass(slots=True)
class Server:
    """The ASGI app, and the node behind it once it has started."""

    app: Edge
    rest: FastAPI
    engine: EngineServer
    drain_s: float
    node: Node | None = None

    async def leave(self) -> None:
        """Send the clients away, spread out, while uploads that are coming in may end.

        Takes ``drain_s`` and a moment at most; nothing when there is nobody.
        """
        await asyncio.gather(
            self.engine.send_away(min(_LEAVE_S, self.drain_s)), self.app.finish(self.drain_s)
        )

    def drain(self) -> None:
        """The server goes: sockets that close now keep their places."""
        self.engine.draining = True
        self.app.draining = True
        if self.node is not None:
            self.node.presence.draining = True


def build(settings: Settings, made: Secrets) -> Server:
    """The server for these settings. Nothing is started before the ASGI lifespan."""
    metrics = Metrics()
    tokens = Tokens(
        made.jwt_secret,
        made.admin_key,
        settings.enrollment_key.get_secret_value() if settings.enrollment_key else None,
    )
    doors: dict[str, Door] = {}
    sockets = SocketIo(doors, connect_timeout_s=_CONNECT_TIMEOUT_S)
    engine = EngineServer(
        sockets,
        ping_interval_s=settings.socket_ping_interval_ms / 1000,
        ping_timeout_s=settings.socket_ping_timeout_ms / 1000,
        max_payload_bytes=MAX_MESSAGE_BYTES,
        origins=settings.allowed_origins,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        children = Children(settings)
        url = await children.start()
        timeout_s = settings.redis_timeout_ms / 1000
        valkey = Valkey(
            url,
            timeout_s,
            {
                "device_ttl": DEVICE_STATE_TTL_S,
                "session_ttl": SESSION_TTL_S,
                "lock_ttl": settings.lock_ttl_seconds,
            },
        )
        storage: Storage | None = None
        try:
            await valkey.ping()
            hub = _hub(settings, valkey, metrics)
            node = Node(hub, tokens)
            server.node = node
            doors["/"] = node.gateway
            storage = Storage(
                settings,
                children.s3,
                valkey,
                hub.sessions,
                hub.clock,
                metrics,
                node.uploads.changed,
            )
            await storage.open()
            door.storage = storage
            metrics.watch(hub.view, _live(node))
            revocation = Revocation(TabletRegistry(valkey, hub.clock), tokens, hub.connections)
            await revocation.load()
            hub.spawn(revocation.keep())
            hub.spawn(hub.audit.keep_writing())
            app.state.context = Context(
                settings=settings,
                tokens=tokens,
                node=node,
                revocation=revocation,
                storage=storage,
                metrics=metrics,
                limiter=HttpLimiter(url, settings.rate_limit_multiplier, timeout_s),
                dependencies={"valkey": valkey.ping, "s3": storage.store.ping},
                readiness=Readiness(valkey.ping),
                started_at=time.monotonic(),
            )
            await node.start()
            log.info("server_started", version=__version__, port=settings.port)
            yield
            await sockets.finish(_FINISH_S)
            await node.stop()
            await hub.audit.flush()
        finally:
            await door.close()
            if storage is not None:
                await storage.close()
            await valkey.close()
            await children.stop()
            log.info("server_stopped")

    rest = rest_app(settings, lifespan)
    door = ObjectDoor(
        mounted(engine, "/socket.io", rest),
        settings.s3_bucket_name,
        settings.allowed_origins,
        metrics,
    )
    server = Server(
        Edge(door, metrics, lambda scope: scope["path"] == forms.PATH or door.streams(scope)),
        rest,
        engine,
        settings.drain_seconds,
    )
    return server


def rest_app(settings: Settings, lifespan: Any = None) -> FastAPI:
    """The REST edge alone; its OpenAPI document needs nothing started."""
    rest = FastAPI(
        title="Quest VR Backend",
        version=__version__,
        summary="Fleet, sessions and recordings of Meta Quest headsets. "
        "Sockets: see /asyncapi.json.",
        lifespan=lifespan,
    )
    rest.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["*"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Enrollment-Key"],
        expose_headers=["ETag", "Retry-After"],
    )
    errors.install(rest)
    for module in (operations, auth, fleet, sessions, uploads, forms, tablets, audit, console):
        rest.include_router(module.router)
    return rest


def _hub(settings: Settings, valkey: Valkey, metrics: Metrics) -> Hub:
    clock = Clock()
    view = FleetView()
    connections = Connections()
    outbox = Outbox(metrics)
    node_id = _node_id(settings.data_dir)
    return Hub(
        settings=settings,
        clock=clock,
        view=view,
        store=FleetStore(valkey, clock, node_id, settings.tablet_grace_seconds),
        sessions=SessionStore(valkey, clock),
        telemetry=TelemetryWriter(valkey, clock),
        audit=AuditTrail(valkey, clock),
        connections=connections,
        outbox=outbox,
        dashboards=Feed(
            outbox, catalogue.ON_DEVICE_TELEMETRY_UPDATED, lambda: connections.room(DASHBOARDS)
        ),
        lists=ListBroadcaster(view, connections, outbox, clock),
        metrics=metrics,
    )


def _live(node: Node) -> Live:
    connections = node.hub.connections
    return Live(
        connected_by_type=connections.count_by_type,
        dashboard_subscribers=lambda: len(connections.room(DASHBOARDS)),
        active_sessions=lambda: node.active_sessions,
        dependencies_up=lambda: {"valkey": node.store_up},
        loop_tasks=lambda: len(asyncio.all_tasks()),
    )


def _node_id(data_dir: Path) -> str:
    """This server's name, the same after a restart."""
    path = data_dir / "node-id"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(f"node-{secrets.token_hex(6)}\n")
    return path.read_text().strip()
