"""Devices, their history and names, and the fleet in numbers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, field_validator

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.fleet.devices import summary
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import (
    DEVICE_ID_PATTERN,
    LOW_BATTERY_LEVEL,
    MAX_CUSTOM_NAME_CHARS,
)

router = APIRouter(
    prefix="/api", tags=["fleet"], dependencies=[Depends(access.limited("api", 100))]
)

DeviceId = Annotated[str, Path(pattern=DEVICE_ID_PATTERN)]
Reader = Depends(access.any_token)
Namer = Annotated[access.Caller, Depends(access.only(DeviceType.TABLET, DeviceType.DASHBOARD))]


class NameRequest(BaseModel):
    """The name people give a device; empty takes it away."""

    customName: Annotated[str, Field(max_length=MAX_CUSTOM_NAME_CHARS)]

    @field_validator("customName")
    @classmethod
    def _printable(cls, value: str) -> str:
        value = value.strip()
        if any(not char.isprintable() for char in value):
            raise ValueError("only printable characters")
        return value


@router.get("/devices", dependencies=[Reader])
async def devices(request: Request) -> Response:
    """Every device of the fleet."""
    rows = context_of(request).node.hub.view.snapshot()
    return json_response({"ok": True, "count": len(rows), "devices": rows})


@router.get("/devices/{device_id}", dependencies=[Reader])
async def device(request: Request, device_id: DeviceId) -> Response:
    """One device."""
    view = context_of(request).node.hub.view
    if device_id not in view.devices:
        raise ApiError(404, "Device not found")
    return json_response({"ok": True, "device": view.state(device_id)})


@router.get("/devices/{device_id}/history", dependencies=[Reader])
async def history(request: Request, device_id: DeviceId) -> Response:
    """Telemetry of the last 24 hours, one sample per 5 minutes."""
    hub = context_of(request).node.hub
    if device_id not in hub.view.devices:
        raise ApiError(404, "Device not found")
    samples = await hub.store.history(device_id)
    return json_response(
        {"ok": True, "deviceId": device_id, "count": len(samples), "history": samples}
    )


@router.post("/devices/{device_id}/name")
async def rename(
    request: Request, device_id: DeviceId, wanted: NameRequest, caller: Namer
) -> dict[str, Any]:
    """Name a device, for every list and telemetry from now on."""
    hub = context_of(request).node.hub
    renamed = await hub.store.rename(device_id, wanted.customName)
    if renamed is None:
        raise ApiError(404, "Device not found")
    hub.committed([renamed])
    hub.audit.note(caller.name, "rename", device_id, wanted.customName, claimed=caller.claimed)
    return {"ok": True, "customName": wanted.customName}


@router.get("/fleet/summary", dependencies=[Reader])
async def fleet_summary(request: Request) -> Response:
    """The fleet in numbers."""
    view = context_of(request).node.hub.view
    return json_response({"ok": True, "summary": summary(view, LOW_BATTERY_LEVEL)})
