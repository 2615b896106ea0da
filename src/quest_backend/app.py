"""The server, put together: stores, socket edge, REST edge, one ASGI app."""

import asyncio
import gc
import os
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
    progress,
    qa,
    qa_work,
    s3_stats,
    sessions,
    tablets,
    uploads,
)
from quest_backend.api.access import HttpLimiter
from quest_backend.api.context import Context, Quality, Readiness
from quest_backend.api.middleware import Edge
from quest_backend.api.objects import ObjectDoor
from quest_backend.clock import Clock
from quest_backend.fleet.devices import FleetView
from quest_backend.jobs.queue import QaQueue
from quest_backend.jobs.service import QaJobs
from quest_backend.jobs.timelines import Timelines, in_bucket
from quest_backend.metrics import Live, Metrics
from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import DEVICE_STATE_TTL_S, MAX_MESSAGE_BYTES, SESSION_TTL_S
from quest_backend.realtime.connections import DASHBOARDS, Connections
from quest_backend.realtime.frame_packets import PASSING
from quest_backend.realtime.gathering import Gathering
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.lists import ListBroadcaster
from quest_backend.realtime.node import Node
from quest_backend.realtime.outbox import Feed, Outbox
from quest_backend.realtime.quality import QualityNews
from quest_backend.realtime.revocation import Revocation
from quest_backend.settings import Settings
from quest_backend.sockets.engine import EngineServer, mounted
from quest_backend.sockets.socketio import Door, SocketIo
from quest_backend.sockets.websocket import FastReader
from quest_backend.state.audit import AuditTrail
from quest_backend.state.bus import Bus
from quest_backend.state.changes import Changes
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.fleet import FleetStore
from quest_backend.state.nodes import NodeRegistry
from quest_backend.state.qa_lists import QaLists
from quest_backend.state.qa_news import QaNews
from quest_backend.state.sessions import SessionStore
from quest_backend.state.tablets import TabletRegistry
from quest_backend.state.telemetry import TelemetryWriter
from quest_backend.state.valkey import Valkey
from quest_backend.storage.service import Storage, embedded_store
from quest_backend.supervised import take_lock
from quest_backend.tokens import Secrets, Tokens

log = structlog.get_logger()

# A socket that does not say who it is; and what sockets may still do when the server stops.
_CONNECT_TIMEOUT_S = 20
_FINISH_S = 2
# Clients that are sent away leave within this time.
_LEAVE_S = 4.0
_LEAVE_STEP_S = 0.02


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
        over_s = min(_LEAVE_S, self.drain_s)
        if not self._has_company():
            # They cannot come back before the next start, whenever they leave.
            over_s = min(over_s, len(self.engine.sessions) * _LEAVE_STEP_S)
        await asyncio.gather(self.engine.send_away(over_s), self.app.finish(self.drain_s))

    def _has_company(self) -> bool:
        return self.node is not None and self.node.relay.nodes > 1

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
        passing=PASSING,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _node_name(settings.data_dir) as node_id, serving(app, node_id):
            yield

    @asynccontextmanager
    async def serving(app: FastAPI, node_id: str) -> AsyncIterator[None]:
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
                "origin": node_id,
            },
        )
        limiter = HttpLimiter(url, settings.rate_limit_multiplier, timeout_s, valkey)
        storage: Storage | None = None
        try:
            await valkey.ping()
            # Bodies that are coming in need the loop all the time.
            gather_s = settings.socket_gather_ms / 1000
            gathering = Gathering(gather_s, lambda: server.app.is_streaming)
            hub = _hub(settings, valkey, metrics, node_id, gathering)
            node = Node(hub, tokens, Bus(settings.bus_urls or [url], timeout_s, metrics.bus))
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
                QaQueue(valkey, hub.clock).submit,
            )
            await storage.open()
            door.storage = storage
            metrics.watch(hub.view, _live(node))
            revocation = Revocation(TabletRegistry(valkey, hub.clock), tokens, hub.connections)
            await revocation.load()
            hub.spawn(revocation.keep())
            hub.spawn(hub.audit.keep_writing())
            jobs = QaJobs(settings, url, valkey, storage.store, hub.clock)
            quality = _quality(settings, valkey, jobs, storage)
            news = QaNews(valkey, timeout_s)
            await news.ready()
            hub.spawn(QualityNews(hub, news).keep_telling())
            hub.spawn(quality.store.keep_judging())
            app.state.context = Context(
                settings=settings,
                tokens=tokens,
                node=node,
                revocation=revocation,
                storage=storage,
                qa=quality,
                metrics=metrics,
                limiter=limiter,
                dependencies={"valkey": valkey.ping, "s3": storage.store.ping},
                readiness=Readiness(valkey.ping),
                started_at=time.monotonic(),
            )
            await node.start()
            worker = jobs.worker(settings.qa_concurrency) if settings.qa_concurrency else None
            if worker is not None:
                await worker.start()
            # What was made up to here stays. The collector need not look through it again and
            # again, while every frame waits.
            gc.collect()
            gc.freeze()
            log.info("server_started", version=__version__, port=settings.port)
            if settings.websocket_protocol == "picows" and FastReader is None:
                log.warning(
                    "not_compiled",
                    effect="a frame costs twice as much",
                    remedy="install a C compiler and Python's headers, then this package again",
                )
            yield
            await sockets.finish(_FINISH_S)
            if worker is not None:
                await worker.stop()
            await node.stop()
        finally:
            await door.close()
            if storage is not None:
                await storage.close()
            await limiter.close()
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
        allow_headers=[
            "Authorization",
            "Content-Type",
            "X-API-Key",
            "X-Admin-Name",
            "X-Enrollment-Key",
        ],
        expose_headers=["ETag", "Retry-After"],
    )
    errors.install(rest)
    # Paths with words before those with ids in the same place.
    for module in (
        operations,
        auth,
        fleet,
        sessions,
        uploads,
        progress,
        forms,
        tablets,
        audit,
        s3_stats,
        qa_work,
        qa,
        console,
    ):
        rest.include_router(module.router)
    return rest


def _hub(
    settings: Settings, valkey: Valkey, metrics: Metrics, node_id: str, gathering: Gathering
) -> Hub:
    clock = Clock()
    view = FleetView()
    connections = Connections()
    outbox = Outbox(metrics)
    return Hub(
        settings=settings,
        clock=clock,
        view=view,
        store=FleetStore(valkey, clock, node_id, settings.tablet_grace_seconds),
        sessions=SessionStore(valkey, clock),
        telemetry=TelemetryWriter(valkey, clock),
        audit=AuditTrail(valkey, clock),
        changes=Changes(valkey, node_id, settings.redis_timeout_ms / 1000),
        nodes=NodeRegistry(valkey, clock, node_id, settings.node_timeout_seconds),
        connections=connections,
        gathering=gathering,
        outbox=outbox,
        dashboards=Feed(
            outbox, catalogue.ON_DEVICE_TELEMETRY_UPDATED, lambda: connections.room(DASHBOARDS)
        ),
        lists=ListBroadcaster(view, connections, outbox, clock),
        metrics=metrics,
    )


def _quality(settings: Settings, valkey: Valkey, jobs: QaJobs, storage: Storage) -> Quality:
    return Quality(
        store=jobs.results,
        lists=QaLists(valkey),
        queue=jobs.queue,
        timelines=Timelines(in_bucket(storage.store), jobs.budget, settings.qa_max_member_bytes),
    )


def _live(node: Node) -> Live:
    connections = node.hub.connections
    return Live(
        connected_by_type=connections.count_by_type,
        dashboard_subscribers=lambda: len(connections.room(DASHBOARDS)),
        active_sessions=lambda: node.active_sessions,
        dependencies_up=lambda: {"valkey": node.store_up},
        loop_tasks=lambda: len(asyncio.all_tasks()),
        nodes=lambda: node.relay.nodes,
    )


@asynccontextmanager
async def _node_name(data_dir: Path) -> AsyncIterator[str]:
    """This server's name, the same after a restart, and no other server's meanwhile.

    Raises:
        DataDirInUseError: another server works there; with one name they would be one node.
    """
    lock = await take_lock(_node_file(data_dir), data_dir)
    try:
        yield _name_in(_node_file(data_dir))
    finally:
        os.close(lock)


def _node_file(data_dir: Path) -> Path:
    data_dir.mkdir(parents=True, exist_ok=True)
    return data_dir / "node-id"


def _name_in(path: Path) -> str:
    if not path.read_text().strip():
        path.write_text(f"node-{secrets.token_hex(6)}\n")
    return path.read_text().strip()
