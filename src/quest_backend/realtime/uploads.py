"""What a session's tablet hears of its headsets' uploads, and when the session is uploading."""

import structlog

from quest_backend.fleet.sessions import Session, SessionRefused
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
        self._said: dict[tuple[str, str], tuple[int, UploadState, int]] = {}

    async def changed(
        self, session_id: str, device_id: str, status: UploadState, progress: int, revision: int
    ) -> None:
        """A device's part is now this; ``revision`` orders the changes of the session.

        Raises:
            StoreUnavailable: the state store is away.
        """
        session = await self._hub.sessions.load(session_id)
        if session is None:
            return
        self._tell(session, device_id, status, progress, revision)
        try:
            await self._sessions.follow_uploads(session_id)
        except SessionRefused as refusal:
            log.warning("session_uploads_not_followed", session=session_id, reason=str(refusal))

    def _tell(
        self, session: Session, device_id: str, status: UploadState, progress: int, revision: int
    ) -> None:
        key = (session.session_id, device_id)
        last, *said = self._said.get(key, (0, None, None))
        if revision <= last:
            return  # a later change was told while this one waited for the store
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[key] = (revision, status, progress)
        if said == [status, progress]:
            return
        self._hub.outbox.send(
            self._hub.connections.tablet(session.tablet_identity),
            catalogue.ON_UPLOAD_PROGRESS,
            {
                "sessionId": session.session_id,
                "deviceId": device_id,
                "uploadStatus": status,
                "uploadProgress": progress,
            },
        )
