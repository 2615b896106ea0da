"""Headsets and tablets that come and go: identify, take-over, graces, recovery after a restart."""

import asyncio
import random
from typing import Any

import structlog

from quest_backend.fleet.devices import Device
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
from quest_backend.state.versions import NewerRecord

log = structlog.get_logger()

# A headset that returns says within this time whether it still records.
_REPORT_WAIT_S = 1.0
_STEP_RETRY_S = 0.3
# Graces that are over are looked for so often, short ones (in tests) more often.
_GRACE_POLL_S = 1.0
_POLLS_PER_GRACE = 8


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
        if connection.identity != device_id:
            raise Refused(
                ErrorCode.DEVICE_ID_MISMATCH,
                f"This token is for {connection.identity}, not {device_id}",
            )
        self._hub.connections.claim(connection)
        await self._is_here(connection, await self._hub.store.identify(device_id, connection.sid))

    async def is_here_after_all(
        self, connection: Connection, device_id: str, stored: Device | None
    ) -> None:
        """The headset is on this connection, unless it has moved since it was read as ``stored``.

        Raises:
            StoreUnavailable: nothing is known to have changed.
        """
        instead = stored.socket_id if stored is not None else ""
        device = await self._hub.store.identify_instead(device_id, connection.sid, instead)
        if device is not None:
            await self._is_here(connection, device)

    async def _is_here(self, connection: Connection, device: Device) -> None:
        hub, device_id = self._hub, device.device_id
        if connection.sid not in hub.connections.by_sid:
            # It left while the store answered; its goodbye came too early to be seen.
            await self.headset_gone(device_id, connection.sid)
            return
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

    async def claimed(self, gone: Device) -> None:
        """Its socket elsewhere is gone: the one here that says it is this headset, is."""
        device_id = gone.device_id
        connection = self._hub.connections.claimant(device_id)
        if connection is None or connection.device_id == device_id:
            return
        try:
            await self.is_here_after_all(connection, device_id, gone)
        except StoreUnavailable:
            self._waits("headset", device_id)

    def _waits(self, kind: str, identity: str) -> None:
        self._hub.unsure = True
        log.warning("client_waits_for_store", kind=kind, identity=identity)

    async def _bring_into_step(
        self, connection: Connection, device_id: str, commanded: str
    ) -> None:
        """A headset is back in its session, or missed its end: make it do what the session says."""
        try:
            async with asyncio.timeout(_REPORT_WAIT_S):
                await connection.heard_recording.wait()
        except TimeoutError:
            pass
        # For as long as it is the headset's socket: nobody else would, once the store is back.
        while self._hub.connections.headset(device_id) is connection:
            try:
                if await self._step(connection, device_id, commanded):
                    return
            except StoreUnavailable:
                pass
            await asyncio.sleep(_STEP_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _step(self, connection: Connection, device_id: str, commanded: str) -> bool:
        """Whether it is in step, or not this socket's any more; False: look again."""
        hub = self._hub
        device = (await hub.store.read([device_id])).get(device_id)
        if device is None or device.socket_id != connection.sid:
            return True
        session = next(iter(await hub.sessions.known([device.session_id])), None)
        reported = connection.heard_recording.is_set()
        may_record = device.is_recording or not reported
        status = session.status if session is not None else ""
        if status == "recording":
            if reported and device.is_recording:
                return True
            command = Command.START
        elif may_record and (
            status == "paused" if session else Command.STOP in (commanded, device.commanded)
        ):
            command = Command.STOP
        else:
            return True
        told = await hub.store.command_as_read(device, status, command)
        if told is None:
            return False
        hub.committed([told])
        await self._recording.tell([told], command)
        return True

    async def opened(self, connection: Connection) -> None:
        """A socket opened: a tablet gets back what it held; everyone gets the lists."""
        hub = self._hub
        if connection.device_type is DeviceType.TABLET:
            try:
                await self.lead(connection)
            except StoreUnavailable:
                # Its locks and sessions come back with the store.
                self._waits("tablet", connection.identity)
        hub.lists.greet(connection)

    async def lead_again(self, identity: str) -> None:
        """The newest socket here, if any, holds what the tablet's other one on a dead node held."""
        sockets = self._hub.connections.tablet(identity)
        if not sockets:
            return
        try:
            await self.lead(sockets[-1])
        except StoreUnavailable:
            self._waits("tablet", identity)

    async def lead(self, connection: Connection) -> None:
        """This socket is the one that holds its tablet's locks and sessions.

        Raises:
            StoreUnavailable: nothing is known to have changed.
        """
        hub = self._hub
        here = await hub.store.tablet_here(connection.identity, connection.sid)
        hub.connections.leads.pop(connection.identity, None)
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
            await self.headset_gone(device_id, connection.sid)
        elif connection.device_type is DeviceType.TABLET:
            await self._tablet_left(connection)

    async def headset_gone(
        self, device_id: str, socket_id: str, *, keep_lock: bool = False,
        dead_node: str | None = None,
    ) -> None:  # fmt: skip
        """A headset's socket is gone; with ``keep_lock`` it is no fault of the headset."""
        hub = self._hub
        gone = await hub.store.headset_gone(
            device_id, socket_id, keep_lock=keep_lock, dead_node=dead_node
        )
        if gone is None:
            return
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
            await self.lead(others[-1])
            return
        fate = await hub.store.tablet_gone(
            connection.identity, connection.sid, returns=connection.authenticated
        )
        log.info("tablet_left", tablet=connection.identity, fate=fate)

    async def keep_graces(self) -> None:
        """For ever: end the graces that are over.

        After an outage, or when this process stood still, not at once: whoever came back meanwhile
        could not say so. Every node has as long for it as for its heartbeat.
        """
        clock, lull_s = self._hub.clock, self._hub.nodes.timeout_s
        grace_s = self._hub.settings.tablet_grace_seconds
        poll_s = min(_GRACE_POLL_S, max(0.05, grace_s / _POLLS_PER_GRACE))
        away = False
        looked_at, judges_at = clock.monotonic(), float("-inf")
        while True:
            await asyncio.sleep(poll_s)
            now = clock.monotonic()
            if away or now - looked_at > lull_s:
                judges_at = now + lull_s
            looked_at = now
            try:
                due = await self._hub.store.due_headsets()
                away = False
                if now < judges_at:
                    continue
                for device_id in due:
                    gone = await self._hub.store.headset_expired(device_id)
                    if gone is not None:
                        self._hub.committed([gone.device])
                        self._lock_lost(gone)
                        log.info("headset_grace_ended", device=device_id)
                for identity, socket_id in await self._hub.store.due_tablets():
                    await self._end_tablet(identity, socket_id)
            except NewerRecord as error:  # due again in a while, for whoever knows it
                log.warning("grace_left_to_newer_server", reason=str(error))
            except StoreUnavailable as error:
                if not away:
                    log.warning("graces_wait_for_store", reason=str(error))
                away = True

    async def _end_tablet(self, identity: str, socket_id: str) -> None:
        hub = self._hub
        log.info("tablet_grace_ended", tablet=identity)
        for session in await hub.sessions.of_tablet(identity):
            await self._sessions.end_for(session.session_id)
        await self._recording.order(await hub.store.held(socket_id), Command.STOP)
        hub.committed(await hub.store.unlock(identity, socket_id=socket_id))
        await hub.store.tablet_expired(identity, socket_id)

    async def clean_up(self) -> None:
        """For ever: end abandoned sessions, forget expired ones and devices long offline."""
        interval_s = self._hub.settings.session_cleanup_interval_ms / 1000
        while True:
            await asyncio.sleep(interval_s)
            try:
                # Its lease ends before the next time, also on a slow clock.
                if await self._hub.nodes.claim("cleanup", interval_s * 0.9):
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
        here = await hub.store.tablets_here()
        for session in await hub.sessions.all():
            abandoned = session.tablet_identity not in here
            if session.status in ("pending", "recording", "paused") and abandoned:
                last = session.started_at or session.created_at
                if last < limit:
                    await self._sessions.end_for(session.session_id)
                    ended += 1
        gone = await hub.store.forget_offline_since(now - hub.settings.offline_device_expiry_ms)
        if gone:
            hub.view.remove(gone)
            hub.lists.changed()
            snapshot_to_all(hub)
        report = {"sessions_forgotten": forgotten, "sessions_ended": ended, "devices": len(gone)}
        log.info("cleaned_up", **report)
        return report
