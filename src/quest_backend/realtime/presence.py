"""Headsets and tablets that come and go: identify, take-over, graces, recovery after a restart."""

import asyncio
from typing import Any

import structlog

from quest_backend.fleet.recording import Command
from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.protocol.events import DeviceType
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.dashboards import snapshot_to_all
from quest_backend.realtime.gateway import Refused, handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import Recording
from quest_backend.realtime.sessions import Sessions
from quest_backend.state.fleet import HeadsetGone
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

# A headset that returns says within this time whether it still records.
_REPORT_WAIT_S = 1.0
_GRACE_POLL_S = 0.25
_HEARTBEAT_S = 5
_HEARTBEAT_LIFETIME_S = 20


class Presence:
    """Who is here, and what becomes of what they held."""

    def __init__(self, hub: Hub, recording: Recording, sessions: Sessions) -> None:
        self._hub = hub
        self._recording = recording
        self._sessions = sessions
        self.draining = False

    @handles(catalogue.HEADSET_IDENTIFY)
    async def identify(self, connection: Connection, device_id: str) -> None:
        """Register a headset; a newer connection takes over from an older one."""
        hub = self._hub
        if connection.identity != device_id:
            raise Refused(
                ErrorCode.DEVICE_ID_MISMATCH,
                f"This token is for {connection.identity}, not {device_id}",
            )
        device = await hub.store.identify(device_id, connection.sid)
        if connection.sid not in hub.connections.by_sid:
            return  # it left while the store answered; its goodbye came too early to be seen
        replaced = hub.connections.identify(connection, device_id)
        if replaced is not None:
            hub.outbox.refuse(
                replaced, ErrorCode.REPLACED, "A newer connection identified as this headset"
            )
        connection.heard_recording.clear()
        hub.committed([device])
        hub.outbox.send(
            hub.connections.room(device_room(device_id)), catalogue.ON_HEADSET_CONNECTED
        )
        log.info("headset_identified", device=device_id, sid=connection.sid)
        if device.session_id or device.commanded == Command.STOP:
            hub.spawn(self._bring_into_step(connection, device_id, device.commanded))

    async def _bring_into_step(
        self, connection: Connection, device_id: str, commanded: str
    ) -> None:
        """A headset is back in its session, or missed its end: make it do what the session says."""
        try:
            async with asyncio.timeout(_REPORT_WAIT_S):
                await connection.heard_recording.wait()
        except TimeoutError:
            pass
        hub = self._hub
        device = (await hub.store.read([device_id])).get(device_id)
        if device is None or device.socket_id != connection.sid:
            return
        session = await hub.sessions.load(device.session_id) if device.session_id else None
        reported = connection.heard_recording.is_set()
        may_record = device.is_recording or not reported
        if session is not None and session.status == "recording":
            if not (reported and device.is_recording):
                await self._recording.send([device], Command.START)
        elif may_record and (session.status == "paused" if session else commanded == Command.STOP):
            await self._recording.send([device], Command.STOP)

    async def opened(self, connection: Connection) -> None:
        """A socket opened: a tablet gets back what it held; everyone gets the lists."""
        hub = self._hub
        if connection.device_type is DeviceType.TABLET:
            await self._lead(connection)
        hub.lists.greet(connection)

    async def _lead(self, connection: Connection) -> None:
        hub = self._hub
        here = await hub.store.tablet_here(connection.identity, connection.sid)
        hub.committed(here.moved)
        watched = here.watched
        if watched:
            connection.watched = watched
            hub.connections.join(connection, device_room(watched))
        for device_id in await hub.store.held(connection.sid):
            hub.connections.join(connection, device_room(device_id))
        if here.moved or here.session_ids:
            log.info(
                "tablet_returned",
                tablet=connection.identity,
                locks=len(here.moved),
                sessions=len(here.session_ids),
            )

    async def closed(self, connection: Connection) -> None:
        """A socket is gone."""
        hub = self._hub
        device_id = connection.device_id
        hub.connections.remove(connection)
        if self.draining:
            return  # the server goes, not the client: everything keeps its place
        if connection.device_type is DeviceType.HEADSET and device_id:
            gone = await hub.store.headset_gone(device_id, connection.sid)
            if gone is not None:
                await self._headset_left(gone)
        elif connection.device_type is DeviceType.TABLET:
            await self._tablet_left(connection)

    async def _headset_left(self, gone: HeadsetGone) -> None:
        hub = self._hub
        device_id = gone.device.device_id
        hub.committed([gone.device])
        hub.outbox.send(
            hub.connections.room(device_room(device_id)), catalogue.ON_HEADSET_DISCONNECTED
        )
        log.info("headset_left", device=device_id, kept=gone.kept)
        if not gone.kept:
            self._lock_lost(gone)

    def _lock_lost(self, gone: HeadsetGone) -> None:
        hub = self._hub
        holder = hub.connections.by_sid.get(gone.holder)
        if holder is None:
            return
        device_id = gone.device.device_id
        hub.connections.unwatch(holder.identity, device_id)
        hub.outbox.send(holder, catalogue.ON_DEVICE_DISCONNECTED, {"deviceId": device_id})

    async def _tablet_left(self, connection: Connection) -> None:
        hub = self._hub
        others = hub.connections.tablet(connection.identity)
        if others:
            await self._lead(others[-1])
            return
        fate = await hub.store.tablet_gone(
            connection.identity, connection.sid, returns=connection.authenticated
        )
        log.info("tablet_left", tablet=connection.identity, fate=fate)

    async def recover(self) -> None:
        """After a start: load the fleet; whoever was on this node, or on a dead one, is missing."""
        hub = self._hub
        for device, telemetry in await hub.store.load_all():
            hub.view.apply(device)
            if telemetry is not None:
                hub.view.seen(device.device_id, device.last_seen, telemetry)
        for device in hub.view.online():
            if await hub.store.is_dead(device.node_id):
                gone = await hub.store.headset_gone(
                    device.device_id, device.socket_id, keep_lock=True
                )
                if gone is not None:
                    hub.committed([gone.device])
        for identity, socket_id in await hub.store.orphaned_tablets():
            await hub.store.tablet_gone(
                identity, socket_id, returns=not identity.startswith("anonymous:")
            )
        log.info("fleet_recovered", devices=len(hub.view.devices))

    async def keep_graces(self) -> None:
        """For ever: end the graces that are over."""
        away = False
        while True:
            await asyncio.sleep(_GRACE_POLL_S)
            try:
                for device_id in await self._hub.store.due_headsets():
                    gone = await self._hub.store.headset_expired(device_id)
                    if gone is not None:
                        self._hub.committed([gone.device])
                        self._lock_lost(gone)
                        log.info("headset_grace_ended", device=device_id)
                for identity, socket_id in await self._hub.store.due_tablets():
                    await self._end_tablet(identity, socket_id)
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning("graces_wait_for_store", reason=str(error))
                away = True

    async def _end_tablet(self, identity: str, socket_id: str) -> None:
        hub = self._hub
        log.info("tablet_grace_ended", tablet=identity)
        for session in await hub.sessions.of_tablet(identity):
            await self._sessions.end_for(session.session_id)
        held = await hub.store.read(await hub.store.held(socket_id))
        await self._recording.stop_recording_ones(list(held.values()))
        hub.committed(await hub.store.unlock(identity, socket_id=socket_id))
        await hub.store.tablet_expired(identity, socket_id)

    async def keep_alive(self) -> None:
        """For ever: this node's heartbeat, and renewal of what connected clients hold."""
        hub = self._hub
        beats = 0
        while True:
            try:
                await hub.store.heartbeat(_HEARTBEAT_LIFETIME_S)
                if beats % 12 == 0:
                    await self._renew()
            except StoreUnavailable as error:
                log.warning("heartbeat_missed", reason=str(error))
            beats += 1
            await asyncio.sleep(_HEARTBEAT_S)

    async def _renew(self) -> None:
        hub = self._hub
        here = set(hub.connections.by_sid)
        held = [d.device_id for d in hub.view.devices.values() if d.locked_by in here]
        ttl = hub.settings.lock_ttl_seconds
        await hub.store.renew(hub.connections.headsets(), held, ttl)

    async def clean_up(self) -> None:
        """For ever: end abandoned sessions, forget expired ones and devices long offline."""
        settings = self._hub.settings
        while True:
            await asyncio.sleep(settings.session_cleanup_interval_ms / 1000)
            try:
                await self.clean_up_once()
            except StoreUnavailable as error:
                log.warning("cleanup_put_off", reason=str(error))

    async def clean_up_once(self) -> dict[str, Any]:
        """One clean-up; what it did, as counts."""
        hub = self._hub
        now = hub.clock.unix_ms()
        forgotten = await hub.sessions.forget_expired()
        limit = hub.clock.iso_of(now - hub.settings.session_expiry_ms)
        ended = 0
        for session in await hub.sessions.all():
            abandoned = not hub.connections.tablet(session.tablet_identity)
            if session.status in ("pending", "recording", "paused") and abandoned:
                last = session.started_at or session.created_at
                if last < limit:
                    await self._sessions.end_for(session.session_id)
                    ended += 1
        gone = await hub.store.forget_offline_since(
            now - hub.settings.offline_device_expiry_ms,
            {device.device_id for device in hub.view.online()},
        )
        if gone:
            hub.view.remove(gone)
            hub.lists.changed()
            snapshot_to_all(hub)
        report = {"sessions_forgotten": forgotten, "sessions_ended": ended, "devices": len(gone)}
        log.info("cleaned_up", **report)
        return report
