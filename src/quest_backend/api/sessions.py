"""Capture sessions."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.fleet.sessions import is_open
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import DEVICE_ID_PATTERN, SESSION_ID_PATTERN

router = APIRouter(
    prefix="/api/sessions",
    tags=["sessions"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.any_token)],
)


SessionId = Annotated[str, Path(pattern=SESSION_ID_PATTERN)]
Operator = Annotated[access.Caller, Depends(access.only(DeviceType.TABLET))]


class Discarded(BaseModel):
    """A session that is not to be used."""

    ok: bool = True
    sessionId: str
    discardedAt: str


@router.get("")
async def sessions(
    request: Request,
    device_id: Annotated[
        str | None, Query(alias="deviceId", pattern=DEVICE_ID_PATTERN, description="only its own")
    ] = None,
) -> Response:
    """Every session of the last 7 days, newest first."""
    rows: list[dict[str, Any]] = []
    for session in await context_of(request).node.hub.sessions.all():
        if device_id is not None and device_id not in session.device_ids:
            continue
        row: dict[str, Any] = {
            "sessionId": session.session_id,
            "status": session.status,
            "deviceCount": len(session.device_ids),
            "createdAt": session.created_at,
        }
        if session.started_at:
            row["startedAt"] = session.started_at
        if session.ended_at:
            row["endedAt"] = session.ended_at
        if session.discarded_at:
            row["discardedAt"] = session.discarded_at
        rows.append(row)
    return json_response({"ok": True, "count": len(rows), "sessions": rows})


@router.get("/{session_id}")
async def session(request: Request, session_id: SessionId) -> Response:
    """One session, with each device's part in it."""
    node = context_of(request).node
    found = await node.hub.sessions.load(session_id)
    if found is None:
        raise ApiError(404, "Session not found")
    body = await node.sessions.status_of(found)
    if found.discarded_at:
        body["discardedAt"] = found.discarded_at
    view = node.hub.view
    for status in body["deviceStatuses"]:
        device_id = status["deviceId"]
        status["deviceInfo"] = view.state(device_id) if device_id in view.devices else None
    return json_response({"ok": True, "session": body})


@router.post("/{session_id}/discard")
async def discard(request: Request, session_id: SessionId, caller: Operator) -> Discarded:
    """Mark a session that is over as not to be used. Nothing is deleted; again is the same."""
    hub = context_of(request).node.hub
    found = await hub.sessions.load(session_id)
    if found is None:
        raise ApiError(404, "Session not found")
    if caller.identity is not None and caller.identity.device_id != found.tablet_identity:
        raise ApiError(403, "Another tablet recorded this session")
    if is_open(found):
        raise ApiError(409, f"The session is {found.status}: end it first")
    at = await hub.sessions.discard(session_id)
    if not found.discarded_at:
        hub.audit.note(caller.name, "session.discard", session_id, claimed=caller.claimed)
    return Discarded(sessionId=session_id, discardedAt=at)
