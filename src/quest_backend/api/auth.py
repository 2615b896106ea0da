"""Tokens of devices."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, Field

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import TOKEN_DEVICE_ID_PATTERN
from quest_backend.tokens import InvalidToken

router = APIRouter(prefix="/auth", tags=["auth"])


class TokenRequest(BaseModel):
    """Which device the token is for."""

    deviceId: Annotated[str, Field(pattern=TOKEN_DEVICE_ID_PATTERN, examples=["QUEST_0001"])]
    deviceType: DeviceType


class TokenResponse(BaseModel):
    """A token for 24 hours."""

    ok: bool = True
    token: str
    deviceId: str
    deviceType: DeviceType
    expiresIn: str = "24h"


class VerifyRequest(BaseModel):
    """A token to check."""

    token: Annotated[str, Field(max_length=8192)]


def _issue(request: Request, wanted: TokenRequest) -> TokenResponse:
    token = context_of(request).tokens.issue(wanted.deviceId, wanted.deviceType)
    return TokenResponse(token=token, deviceId=wanted.deviceId, deviceType=wanted.deviceType)


@router.post("/device-token", dependencies=[Depends(access.limited("auth/device-token", 20))])
async def device_token(
    request: Request,
    wanted: TokenRequest,
    x_enrollment_key: Annotated[str | None, Header()] = None,
) -> TokenResponse:
    """A token for a device. Needs the enrolment key when the server has one."""
    if not context_of(request).tokens.may_enroll(x_enrollment_key):
        status = 401 if x_enrollment_key is None else 403
        raise ApiError(status, "This server enrols devices only with the X-Enrollment-Key header")
    return _issue(request, wanted)


@router.post("/verify-token", dependencies=[Depends(access.limited("auth/verify-token", 20))])
async def verify_token(request: Request, given: VerifyRequest) -> dict[str, Any]:
    """Whether a token is valid, and whom it names."""
    try:
        identity = context_of(request).tokens.read(given.token)
    except InvalidToken:
        return {"ok": True, "valid": False}
    return {
        "ok": True,
        "valid": True,
        "deviceId": identity.device_id,
        "deviceType": identity.device_type,
    }


@router.post(
    "/generate-token",
    dependencies=[Depends(access.limited("auth/generate-token", 20)), Depends(access.admin)],
)
async def generate_token(request: Request, wanted: TokenRequest) -> TokenResponse:
    """A token for any device, by an admin."""
    return _issue(request, wanted)
