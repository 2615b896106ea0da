"""How far the recordings of sessions are, file by file."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.clock import Clock
from quest_backend.fleet.sessions import Session
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import SESSION_ID_PATTERN
from quest_backend.protocol.payloads import SessionState
from quest_backend.protocol.recordings import FileType
from quest_backend.storage.progress import DeviceProgress, FileProgress
from quest_backend.storage.records import State

router = APIRouter(
    prefix="/api/uploads",
    tags=["uploads"],
    dependencies=[
        Depends(access.limited("api", 100)),
        Depends(access.only(DeviceType.TABLET, DeviceType.DASHBOARD)),
    ],
)

SessionId = Annotated[str, Query(pattern=f"({SESSION_ID_PATTERN})|^$")]


class UploadFile(BaseModel):
    """One file. ``uploaded``: every byte has arrived; ``verified``: and it is what was announced.

    ``recording`` is the folder, which is also the session id of QA. ``checksum`` is what the whole
    file was compared by, null for its size and the ETags of its parts alone. ``retries``: begun
    again, and parts sent again.
    """

    recording: str
    fileType: FileType
    s3Key: str
    size: Annotated[int, Field(ge=0, description="bytes")]
    stored: Annotated[int, Field(ge=0, description="bytes")]
    state: State
    uploaded: bool
    verified: bool
    retries: int
    startedAt: str | None
    checksum: str | None


class UploadDevice(BaseModel):
    """A headset's files. ``recordings``: how many it said that it began.

    ``safeToDelete``: the session is over, and all of them have both files, verified.
    """

    deviceId: str
    recordings: int
    safeToDelete: bool
    files: list[UploadFile]


class UploadSession(BaseModel):
    """A session that has recorded, with each of its headsets."""

    sessionId: str
    status: SessionState
    createdAt: str
    startedAt: str
    endedAt: str | None
    discardedAt: str | None
    metadata: dict[str, Any]
    devices: list[UploadDevice]


class UploadPage(BaseModel):
    """Sessions, newest first; ``next`` is the cursor of older ones."""

    ok: bool = True
    sessions: list[UploadSession]
    next: str | None


@router.get("")
async def uploads(
    request: Request,
    session_id: Annotated[SessionId, Query(alias="sessionId", description="only this")] = "",
    cursor: Annotated[SessionId, Query(description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> UploadPage:
    """Sessions of the last 7 days that have recorded, with the progress of every file."""
    context = context_of(request)
    store = context.node.hub.sessions
    following = ""
    if session_id:
        one = await store.load(session_id)
        if one is None:
            raise ApiError(404, "Session not found")
        found = [one]
    else:
        try:
            found, following = await store.newest(limit, cursor)
        except LookupError:
            raise ApiError(400, "cursor: no such session any more; start without") from None
    started = [session for session in found if session.started_at]
    progress = await context.storage.progress.of_sessions(started)
    return UploadPage(
        sessions=[_session(session, progress[session.session_id]) for session in started],
        next=following or None,
    )


def _session(session: Session, devices: dict[str, DeviceProgress]) -> UploadSession:
    # While a session is open, a headset may begin another recording.
    over = session.ended_at != ""
    return UploadSession(
        sessionId=session.session_id,
        status=session.status,
        createdAt=session.created_at,
        startedAt=session.started_at,
        endedAt=session.ended_at or None,
        discardedAt=session.discarded_at or None,
        metadata=session.metadata,
        devices=[
            UploadDevice(
                deviceId=device_id,
                recordings=device.recordings,
                safeToDelete=over and device.safe_to_delete,
                files=[_file(file) for file in device.files],
            )
            for device_id, device in devices.items()
        ],
    )


def _file(file: FileProgress) -> UploadFile:
    return UploadFile(
        recording=file.folder,
        fileType=file.file_type,
        s3Key=file.key,
        size=file.size,
        stored=file.stored,
        state=file.state,
        uploaded=file.uploaded,
        verified=file.verified,
        retries=file.retries,
        startedAt=Clock.iso_of(file.started_ms) if file.started_ms else None,
        checksum=file.checksum or None,
    )
