"""The relay part of the job on python-socketio as its documentation shows it, under uvicorn.

To be measured against: tokens, identities, rooms, the pace of frames, checked telemetry for
dashboards. Usage: JWT_SECRET=... python plain.py PORT
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Any

import jwt
import socketio
import uvicorn
from pydantic import ValidationError

from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import InvalidPayload

THROTTLE_S, INTERVAL_S = 0.015, 0.033
DASHBOARDS = "dashboards"

sio = socketio.AsyncServer(
    async_mode="asgi",
    async_handlers=False,
    ping_interval=5,
    ping_timeout=10,
    max_http_buffer_size=4 * 1024 * 1024,
)


class Headset:
    """What is known of one headset, and the pace of its frames."""

    def __init__(self, device_id: str, sid: str) -> None:
        now = datetime.now(UTC).isoformat()
        self.sid = sid
        self.frame: str | None = None
        self.taken_at = self.sent_at = float("-inf")
        self.timer: asyncio.TimerHandle | None = None
        self.state: dict[str, Any] = {
            "deviceId": device_id, "socketId": sid, "isOnline": True, "lastSeen": now,
            "connectionTime": now, "telemetry": None, "isLocked": False, "isRecording": False,
            "customName": device_id,
        }  # fmt: skip


identities: dict[str, dict[str, Any]] = {}
headsets: dict[str, Headset] = {}
_sending: set[asyncio.Task[None]] = set()


@sio.event  # type: ignore[untyped-decorator]  # socketio is untyped
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Who it is."""
    try:
        identities[sid] = jwt.decode(auth["token"], os.environ["JWT_SECRET"], algorithms=["HS256"])
    except (jwt.PyJWTError, KeyError, TypeError):
        raise socketio.exceptions.ConnectionRefusedError("Authentication failed") from None


@sio.event  # type: ignore[untyped-decorator]  # socketio is untyped
async def disconnect(sid: str) -> None:
    """It is gone."""
    headset = headsets.get(identities.pop(sid)["deviceId"])
    if headset is not None and headset.sid == sid:
        headset.state["isOnline"] = False


@sio.on(catalogue.HEADSET_IDENTIFY.name)  # type: ignore[untyped-decorator]  # socketio is untyped
async def identify(sid: str, device_id: str) -> None:
    """A headset says who it is."""
    if identities[sid]["deviceId"] != device_id:
        return
    headsets[device_id] = Headset(device_id, sid)
    await sio.enter_room(sid, device_id)
    await sio.emit(catalogue.ON_HEADSET_CONNECTED.name, room=device_id)


@sio.on(catalogue.TABLET_CONNECT_HEADSET.name)  # type: ignore[untyped-decorator]  # socketio is untyped
async def watch(sid: str, device_id: str) -> None:
    """A tablet watches a headset."""
    await sio.enter_room(sid, device_id)
    await sio.emit(catalogue.ON_HEADSET_CONNECTED.name, to=sid)


@sio.on(catalogue.DASHBOARD_SUBSCRIBE.name)  # type: ignore[untyped-decorator]  # socketio is untyped
async def subscribe(sid: str) -> None:
    """A dashboard wants every change."""
    await sio.enter_room(sid, DASHBOARDS)
    fleet = [headset.state for headset in headsets.values()]
    await sio.emit(catalogue.ON_FLEET_STATUS_UPDATED.name, fleet, to=sid)


@sio.on(catalogue.HEADSET_FRAME.name)  # type: ignore[untyped-decorator]  # socketio is untyped
async def frame(sid: str, data: str) -> None:
    """A frame: at once when the pace allows, at the boundary otherwise."""
    device_id = identities[sid]["deviceId"]
    headset = headsets[device_id]
    loop = asyncio.get_running_loop()
    if loop.time() - headset.taken_at < THROTTLE_S:
        return
    headset.taken_at = loop.time()
    headset.frame = data
    if headset.timer is not None:
        return
    wait = headset.sent_at + INTERVAL_S - loop.time()
    if wait <= 0:
        await send(device_id, headset)
    else:
        headset.timer = loop.call_later(wait, spawn, device_id, headset)


def spawn(device_id: str, headset: Headset) -> None:
    """Send what has waited."""
    headset.timer = None
    task = asyncio.get_running_loop().create_task(send(device_id, headset))
    _sending.add(task)
    task.add_done_callback(_sending.discard)


async def send(device_id: str, headset: Headset) -> None:
    """Send the newest frame to all viewers."""
    data, headset.frame = headset.frame, None
    headset.sent_at = asyncio.get_running_loop().time()
    await sio.emit(
        catalogue.ON_HEADSET_FRAME_UPDATED.name, data, room=device_id, skip_sid=headset.sid
    )


@sio.on(catalogue.DEVICE_TELEMETRY.name)  # type: ignore[untyped-decorator]  # socketio is untyped
async def telemetry(sid: str, sent: Any) -> None:
    """Checked, and passed on to dashboards."""
    try:
        (value,) = catalogue.DEVICE_TELEMETRY.parse([sent])
    except (InvalidPayload, ValidationError):
        return
    headset = headsets[identities[sid]["deviceId"]]
    headset.state["telemetry"] = value
    headset.state["lastSeen"] = datetime.now(UTC).isoformat()
    await sio.emit(catalogue.ON_DEVICE_TELEMETRY_UPDATED.name, headset.state, room=DASHBOARDS)


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
        backlog=4096,
    )
