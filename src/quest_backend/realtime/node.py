"""One node's socket edge, put together."""

import asyncio

import structlog

from quest_backend import tasks
from quest_backend.protocol.catalogue import INBOUND
from quest_backend.realtime.connections import Connection
from quest_backend.realtime.dashboards import Dashboards
from quest_backend.realtime.frames import Frames
from quest_backend.realtime.gateway import Gateway
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.liveness import Liveness
from quest_backend.realtime.locks import Locks
from quest_backend.realtime.peers import Peers
from quest_backend.realtime.presence import Presence
from quest_backend.realtime.recording import Recording
from quest_backend.realtime.relay import Relay
from quest_backend.realtime.sessions import Sessions
from quest_backend.realtime.telemetry import Telemetry
from quest_backend.realtime.thumbnails import Thumbnails
from quest_backend.realtime.uploads import UploadNews
from quest_backend.state.bus import Bus
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.tokens import Tokens

log = structlog.get_logger()


class Node:
    """The features of the socket edge behind one gateway."""

    def __init__(self, hub: Hub, tokens: Tokens, bus: Bus) -> None:
        self.hub = hub
        self.relay = Relay(hub, bus)
        self.recording = Recording(hub)
        self.sessions = Sessions(hub, self.recording)
        self.presence = Presence(hub, self.recording, self.sessions)
        self.liveness = Liveness(hub, self.presence, self.recording, self.relay)
        self.telemetry = Telemetry(hub, self.recording, self.relay)
        self.thumbnails = Thumbnails(hub, self.relay)
        self.frames = Frames(hub, self.thumbnails, self.relay)
        self.uploads = UploadNews(hub, self.sessions)
        self.peers = Peers(
            hub,
            self.relay,
            claimed=self.presence.claimed,
            lead_again=self.presence.lead_again,
            back=self.liveness.reconcile,
        )
        self.peers.handlers["upload"] = self.uploads.told
        features = [
            self.presence,
            self.telemetry,
            self.frames,
            self.thumbnails,
            Locks(hub),
            self.recording,
            self.sessions,
            Dashboards(hub),
        ]
        self.gateway = Gateway(
            hub,
            tokens,
            features,
            frames=self.frames,
            opened=self.presence.opened,
            closed=self._closed,
        )
        missing = INBOUND.keys() - self.gateway.handlers.keys()
        if missing:
            raise LookupError(f"events without a handler: {sorted(missing)}")
        self.active_sessions = 0
        self.store_up = True
        self._loops: list[asyncio.Task[None]] = []

    async def _closed(self, connection: Connection) -> None:
        device_id = connection.device_id
        self.thumbnails.forget(connection)
        await self.presence.closed(connection)
        if device_id and self.hub.connections.headset(device_id) is None:
            self.frames.forget(device_id)
            self.telemetry.forget(device_id)

    async def start(self) -> None:
        """Recover what was, then keep the clocks running."""
        self.relay.start(
            self.frames.from_elsewhere, self.frames.picture_from_elsewhere, self.thumbnails
        )
        await self.liveness.recover()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self.liveness.keep_alive(), name="heartbeat"),
            loop.create_task(self.liveness.keep_order(), name="order"),
            loop.create_task(self.peers.keep_reading(), name="changes"),
            loop.create_task(self.recording.keep_telling(), name="commands"),
            loop.create_task(self.presence.keep_graces(), name="graces"),
            loop.create_task(self.presence.clean_up(), name="cleanup"),
            loop.create_task(self.telemetry.keep_flushing(), name="telemetry"),
        ]

    async def refresh_gauges(self) -> None:
        """Read what gauges need from the store; the last known when it is away."""
        try:
            self.active_sessions = await self.hub.sessions.count_active()
            self.store_up = True
        except StoreUnavailable:
            self.store_up = False

    async def stop(self) -> None:
        """Stop, with the last telemetry and audit entries written, if the store is there."""
        self.presence.draining = True
        await tasks.end(self._loops)
        await self.relay.stop()
        await self.hub.close()
        try:
            await self.hub.telemetry.flush()
            await self.hub.audit.flush()
        except StoreUnavailable as error:
            log.warning("last_writes_lost", reason=str(error))
