"""What a session's tablet hears of its headsets' uploads, and when the session is uploading."""

import structlog

from quest_backend.fleet.sessions import Session, SessionRefused
from quest_backend.protocol import catalogue
from quest_backend.protocol.payloads import UploadState
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.sessions import Sessions
from quest_backend.state.changes import Message

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
        for session in await self._hub.sessions.known([session_id]):
            await self._changed(session, device_id, status, progress, revision)

    async def _changed(
        self, session: Session, device_id: str, status: UploadState, progress: int, revision: int
    ) -> None:
        session_id = session.session_id
        body: Message = {
            "k": "upload",
            "who": session.tablet_identity,
            "s": session_id,
            "d": device_id,
            "p": [status, progress],
            "r": revision,
        }
        self.told(body)
        await self._hub.changes.announce(body)
        try:
            await self._sessions.follow_uploads(session_id)
        except SessionRefused as refusal:
            log.warning("session_uploads_not_followed", session=session_id, reason=str(refusal))

    def told(self, message: Message) -> None:
        """Tell the tablet's sockets on this node, unless they know it or something later."""
        sockets = self._hub.connections.tablet(message["who"])
        if not sockets:
            return
        session_id, device_id = message["s"], message["d"]
        status, progress = message["p"]
        key = (session_id, device_id)
        last, *said = self._said.get(key, (0, None, None))
        if message["r"] <= last:
            return
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[key] = (message["r"], status, progress)
        if said == [status, progress]:
            return
        self._hub.outbox.send(
            sockets,
            catalogue.ON_UPLOAD_PROGRESS,
            {
                "sessionId": session_id,
                "deviceId": device_id,
                "uploadStatus": status,
                "uploadProgress": progress,
            },
        )
