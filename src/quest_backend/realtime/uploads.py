"""What a session's tablet hears of its headsets' uploads, and when the session is uploading."""

import structlog

from quest_backend.fleet.sessions import Action, Session, SessionRefused
from quest_backend.protocol import catalogue
from quest_backend.protocol.payloads import UploadState
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.sessions import Sessions

log = structlog.get_logger()

# Devices whose last word is remembered, so that it is not said twice.
_REMEMBERED = 10_000


class UploadNews:
    """Turns changes of a device's part in a session into events and session states."""

    def __init__(self, hub: Hub, sessions: Sessions) -> None:
        self._hub = hub
        self._sessions = sessions
        self._said: dict[tuple[str, str], tuple[UploadState, int]] = {}

    async def changed(
        self, session_id: str, device_id: str, status: UploadState, progress: int, uploading: int
    ) -> None:
        """A device's part is now this; ``uploading`` devices of the session upload.

        Raises:
            StoreUnavailable: the state store is away.
        """
        session = await self._hub.sessions.load(session_id)
        if session is None:
            return
        await self._follow(session, uploading > 0)
        now = (status, progress)
        if self._said.get((session_id, device_id)) == now:
            return
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[session_id, device_id] = now
        self._hub.outbox.send(
            self._hub.connections.tablet(session.tablet_identity),
            catalogue.ON_UPLOAD_PROGRESS,
            {
                "sessionId": session_id,
                "deviceId": device_id,
                "uploadStatus": status,
                "uploadProgress": progress,
            },
        )

    async def _follow(self, session: Session, uploading: bool) -> None:
        wanted = {("completed", True): Action.UPLOAD, ("uploading", False): Action.UPLOADED}
        action = wanted.get((session.status, uploading))
        if action is None:
            return
        try:
            await self._sessions.follow_uploads(session.session_id, action)
            log.info("session_uploads", session=session.session_id, uploading=uploading)
        except SessionRefused:
            return  # another upload of the session was first
