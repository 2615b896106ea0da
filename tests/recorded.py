"""Recordings whose flags and gaps are known, in the bucket and measured."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import lab
import numpy as np
from support import TOKENS, Server

from quest_backend.client import UploadClient
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.recordings import FileType
from quest_backend.simulator import recordings
from quest_backend.simulator.recordings import Take

# Frames, `end` not in it.
SPEED, TRACKING, LEFT_LOST = (20, 26), (40, 44), (60, 72)
_make = recordings.make


def make(take: Take, folder: Path) -> dict[FileType, Path]:
    """As a simulated headset does, but flagged in these frames and no other."""
    files = _make(take, folder)
    with np.load(files[FileType.DATA], allow_pickle=False) as loaded:
        arrays = dict(loaded)
    for name in ("both_hands_not_in_frame", "hand_speed_exceeded", "tracking_errors"):
        arrays[name][:] = False
    for side in ("left", "right"):
        arrays[f"{side}_tracked"][:] = True
        arrays[f"{side}_confidence"][:] = 0.97
    arrays["hand_speed_exceeded"][slice(*SPEED)] = True
    arrays["tracking_errors"][slice(*TRACKING)] = True
    arrays["left_tracked"][slice(*LEFT_LOST)] = False
    arrays["left_confidence"][slice(*LEFT_LOST)] = 0.2
    np.savez_compressed(files[FileType.DATA], **arrays)
    return files


async def upload(server: Server, device_id: str, session_id: str, folder: Path) -> None:
    """A recording of 4 s, uploaded by its headset and measured by the server."""
    began = datetime.strptime(session_id, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    take = Take(device_id, began, 4, seed=7)
    files = await asyncio.to_thread(make, take, folder / session_id)
    token = TOKENS.issue(device_id, DeviceType.HEADSET)
    async with UploadClient(server.url, token=token) as client:
        for file_type, path in files.items():
            await client.upload(path, timestamp=session_id, file_type=file_type)
    async with server.http(admin=True) as http:
        await lab.until(lambda: _complete(http, session_id), 30)


async def _complete(http: httpx.AsyncClient, session_id: str) -> bool:
    answer = await http.get(f"/api/qa-metrics/{session_id}")
    return answer.status_code == 200 and answer.json()["status"] == "complete"


async def broken(server: Server, device: httpx.AsyncClient, session_id: str) -> None:
    """Two files that are neither video nor data, measured by the server."""
    body = b"neither a video nor data"
    for kind in FileType:
        asked = {"timestamp": session_id, "fileType": kind.value, "fileSize": len(body)}
        begun = (await device.post("/chunked-upload/start", json=asked)).json()
        async with httpx.AsyncClient() as plain:
            put = await plain.put(begun["presignedUrls"][0]["url"], content=body)
        parts = [{"partNumber": 1, "etag": put.headers["etag"]}]
        names = {"uploadId": begun["uploadId"], "s3Key": begun["s3Key"]}
        await device.post("/chunked-upload/complete", json={**names, "parts": parts})
    async with server.http(admin=True) as http:
        await lab.until(lambda: _known(http, session_id), 30)


async def _known(http: httpx.AsyncClient, session_id: str) -> bool:
    return (await http.get(f"/api/qa-metrics/{session_id}")).status_code == 200
