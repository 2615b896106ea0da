"""Capture sessions."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.protocol.limits import SESSION_ID_PATTERN

router = APIRouter(
    prefix="/api/sessions",
    tags=["sessions"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.any_token)],
)


@router.get("")
async def sessions(request: Request) -> Response:
    """Every session of the last 7 days, newest first."""
    rows: list[dict[str, Any]] = []
    for session in await context_of(request).node.hub.sessions.all():
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
        rows.append(row)
    return json_response({"ok": True, "count": len(rows), "sessions": rows})


@router.get("/{session_id}")
async def session(
    request: Request, session_id: Annotated[str, Path(pattern=SESSION_ID_PATTERN)]
) -> Response:
    """One session, with each device's part in it."""
    node = context_of(request).node
    found = await node.hub.sessions.load(session_id)
    if found is None:
        raise ApiError(404, "Session not found")
    body = await node.sessions.status_of(found)
    view = node.hub.view
    for status in body["deviceStatuses"]:
        device_id = status["deviceId"]
        status["deviceInfo"] = view.state(device_id) if device_id in view.devices else None
    return json_response({"ok": True, "session": body})
