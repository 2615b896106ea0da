"""Capture sessions: created by a tablet, recorded on many headsets at once."""

from typing import Any

import orjson
import structlog

from quest_backend.fleet.recording import Command
from quest_backend.fleet.sessions import (
    Action,
    Session,
    SessionRefused,
    advance,
    duration_s,
)
from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import MAX_METADATA_BYTES
from quest_backend.protocol.payloads import CreateSession
from quest_backend.realtime import reach
from quest_backend.realtime.connections import Connection
from quest_backend.realtime.gateway import handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import Recording
from quest_backend.state.sessions import Saved

log = structlog.get_logger()

_COMMIT_TRIES = 5
_COMMANDS = {
    Action.START: Command.START,
    Action.PAUSE: Command.STOP,
    Action.END: Command.STOP,
}
_FOLLOWING = {("completed", True): Action.UPLOAD, ("uploading", False): Action.UPLOADED}


class Sessions:
    """Each step is read, decided by ``fleet.sessions``, committed if nothing changed meanwhile."""

    def __init__(self, hub: Hub, recording: Recording) -> None:
        self._hub = hub
        self._recording = recording
        self._last_id_ms = 0

    def _new_id(self, socket_id: str) -> str:
        # Two sessions of one tablet in the same millisecond would be one.
        self._last_id_ms = max(self._hub.clock.unix_ms(), self._last_id_ms + 1)
        return f"session_{self._last_id_ms}_{socket_id[:8]}"

    @handles(catalogue.TABLET_CREATE_SESSION)
    async def create(self, connection: Connection, request: CreateSession) -> None:
        """Make a session of the asked-for devices that are free."""
        hub = self._hub
        metadata = request.metadata or {}
        if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
            self._refuse(connection, f"metadata: longer than {MAX_METADATA_BYTES} bytes")
            return
        wanted = list(dict.fromkeys(request.deviceIds))
        session_id = self._new_id(hub.connections.lead_sid(connection))
        _, devices = await hub.sessions.create(session_id, connection.identity, wanted, metadata)
        members = {device.device_id for device in devices}
        unavailable = [device_id for device_id in wanted if device_id not in members]
        if not devices:
            self._refuse(connection, "No devices available", unavailable=unavailable)
            return
        hub.committed(devices)
        for device_id in members:
            hub.connections.watch(connection.identity, device_id)
        hub.metrics.sessions_created.inc()
        log.info("session_created", session=session_id, devices=len(members))
        hub.audit.note(connection.identity, "session.create", session_id, " ".join(sorted(members)))
        body: dict[str, Any] = {
            "sessionId": session_id,
            "deviceIds": [device_id for device_id in wanted if device_id in members],
        }
        if unavailable:
            body["unavailable"] = unavailable
        hub.outbox.send(connection, catalogue.ON_SESSION_CREATED, body)

    def _refuse(self, connection: Connection, error: str, **more: Any) -> None:
        self._hub.outbox.send(connection, catalogue.ON_SESSION_ERROR, {"error": error, **more})

    @handles(catalogue.TABLET_START_SESSION)
    async def start(self, connection: Connection, session_id: str) -> None:
        """Start or resume every device of the session."""
        await self._act(connection, session_id, Action.START)

    @handles(catalogue.TABLET_PAUSE_SESSION)
    async def pause(self, connection: Connection, session_id: str) -> None:
        """Pause every device of the session."""
        await self._act(connection, session_id, Action.PAUSE)

    @handles(catalogue.TABLET_END_SESSION)
    async def end(self, connection: Connection, session_id: str) -> None:
        """End the session."""
        await self._act(connection, session_id, Action.END)

    async def _act(self, connection: Connection, session_id: str, action: Action) -> None:
        try:
            session, saved = await self._advance(session_id, action, connection.identity)
        except SessionRefused as refusal:
            self._refuse(connection, str(refusal), sessionId=session_id)
            return
        self._hub.audit.note(connection.identity, f"session.{action}", session_id)
        await self._recording.tell(saved.told, _COMMANDS[action])
        if action is Action.START:
            self._started(connection, session, saved)
        elif action is Action.PAUSE:
            log.info("session_paused", session=session_id)
            self._hub.outbox.send(
                connection, catalogue.ON_SESSION_PAUSED, {"sessionId": session_id}
            )
        else:
            await self._ended(session, saved)

    async def end_for(self, session_id: str) -> None:
        """End a session whose tablet does not come back. Nothing happens to an ended one."""
        try:
            ended, saved = await self._advance(session_id, Action.END, None)
        except SessionRefused:
            return
        await self._recording.tell(saved.told, Command.STOP)
        self._hub.audit.note("server", "session.end", session_id, "its tablet did not come back")
        await self._ended(ended, saved)

    async def follow_uploads(self, session_id: str) -> None:
        """Make an ended session ``uploading`` while a headset uploads, and ``completed`` after.

        A headset's change of status changes the session's revision, so that what is committed
        here was decided on what is true.

        Raises:
            SessionRefused: it kept changing.
        """
        hub = self._hub
        for _ in range(_COMMIT_TRIES):
            before = await hub.sessions.load(session_id)
            if before is None:
                return
            parts = await hub.sessions.device_statuses(before)
            uploading = any(part["uploadStatus"] == "uploading" for part in parts)
            action = _FOLLOWING.get((before.status, uploading))
            if action is None:
                return
            after = advance(before, action, hub.clock.iso())
            if await hub.sessions.save(before, after) is not None:
                log.info("session_uploads", session=session_id, status=after.status)
                return
        raise SessionRefused("Session is changing; try again", session_id)

    async def _advance(
        self, session_id: str, action: Action, identity: str | None
    ) -> tuple[Session, Saved]:
        """Read, decide, commit; again when somebody else committed in between.

        What its devices are to do, and which locks end with it, is committed with the session.

        Raises:
            SessionRefused: no such session, not this tablet's, or not in this state.
        """
        hub = self._hub
        for _ in range(_COMMIT_TRIES):
            before = await hub.sessions.load(session_id)
            if before is None:
                raise SessionRefused("Session not found", session_id)
            if identity is not None and before.tablet_identity != identity:
                raise SessionRefused("Not authorized", session_id)
            after = advance(before, action, hub.clock.iso())
            saved = await hub.sessions.save(before, after, _COMMANDS[action])
            if saved is not None:
                hub.committed(saved.devices)
                return after, saved
        raise SessionRefused("Session is changing; try again", session_id)

    def _started(self, connection: Connection, session: Session, saved: Saved) -> None:
        for device in saved.told:
            self._hub.connections.watch(connection.identity, device.device_id)
        log.info("session_started", session=session.session_id)
        self._hub.outbox.send(
            connection,
            catalogue.ON_SESSION_STARTED,
            {"sessionId": session.session_id, "startedAt": session.started_at},
        )

    async def _ended(self, session: Session, saved: Saved) -> None:
        hub = self._hub
        devices = await hub.store.read(session.device_ids)
        await reach.headsets(
            hub, devices.values(), catalogue.ON_SESSION_ENDED, {"sessionId": session.session_id}
        )
        seconds = duration_s(session)
        hub.metrics.session_duration.observe(seconds)
        log.info("session_ended", session=session.session_id, duration_s=seconds)
        await reach.tablet(
            hub,
            session.tablet_identity,
            catalogue.ON_SESSION_ENDED,
            {
                "sessionId": session.session_id,
                "endedAt": session.ended_at,
                "duration": seconds,
            },
        )
        for device in saved.devices:
            if not device.locked_by:
                hub.connections.unwatch(session.tablet_identity, device.device_id)

    async def status_of(self, session: Session) -> dict[str, Any]:
        """Schema ``on-session-status``, also what REST shows."""
        await self._hub.telemetry.flush()
        body: dict[str, Any] = {
            "sessionId": session.session_id,
            "tabletId": session.tablet_id,
            "status": session.status,
            "deviceIds": list(session.device_ids),
            "createdAt": session.created_at,
            "metadata": session.metadata,
            "deviceStatuses": await self._hub.sessions.device_statuses(session),
        }
        if session.started_at:
            body["startedAt"] = session.started_at
        if session.ended_at:
            body["endedAt"] = session.ended_at
            body["duration"] = duration_s(session)
        return body

    @handles(catalogue.TABLET_GET_SESSION)
    async def get(self, connection: Connection, session_id: str) -> None:
        """A session as it is now."""
        session = await self._hub.sessions.load(session_id)
        if session is None:
            self._refuse(connection, "Session not found", sessionId=session_id)
            return
        self._hub.outbox.send(
            connection, catalogue.ON_SESSION_STATUS, await self.status_of(session)
        )

    @handles(catalogue.TABLET_GET_ACTIVE_SESSION)
    async def get_active(self, connection: Connection) -> None:
        """The tablet's newest open session."""
        sessions = await self._hub.sessions.of_tablet(connection.identity)
        active = (
            {
                "sessionId": sessions[0].session_id,
                "status": sessions[0].status,
                "deviceIds": list(sessions[0].device_ids),
            }
            if sessions
            else None
        )
        self._hub.outbox.send(connection, catalogue.ON_ACTIVE_SESSION, active)
