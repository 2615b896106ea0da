"""Tablets: paired by a short code that an admin's screen shows, listed, and shut out again."""

import ipaddress
import socket
from typing import Annotated

import psutil
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field, field_validator

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import DEVICE_ID_PATTERN
from quest_backend.state.tablets import UnknownTabletError

router = APIRouter(tags=["tablets"])

_API = Depends(access.limited("api", 100))
_Admin = Depends(access.admin)
_ADMIN_ONLY = [_API, _Admin]


class PairingRequest(BaseModel):
    """What the tablet is to be called wherever its locks and sessions are shown."""

    name: Annotated[str, Field(min_length=1, max_length=60, examples=["Lab 2, bench A"])]

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        value = value.strip()
        if not value or any(not char.isprintable() for char in value):
            raise ValueError("a name of printable characters")
        return value


class PairingOffer(BaseModel):
    """A code that pairs one tablet, once. ``addresses`` are URLs where a tablet may reach us."""

    ok: bool = True
    code: str
    expiresAt: str
    addresses: list[str]


class PairRequest(BaseModel):
    """The code from the admin's screen; spaces, hyphens and case do not matter."""

    code: Annotated[str, Field(min_length=1, max_length=32)]


class OperatorToken(BaseModel):
    """A token for 24 hours. ``expiresAt`` is Unix seconds."""

    ok: bool = True
    token: str
    deviceId: str
    deviceType: DeviceType
    name: str
    expiresAt: int


class Tablet(BaseModel):
    """A tablet, paired by code or with a token of its own. ``socketId`` while it is connected."""

    tabletId: str
    name: str
    paired: bool
    pairedAt: str | None = None
    revokedAt: str | None = None
    socketId: str | None = None


class TabletList(BaseModel):
    """Tablets, newest pairing first."""

    ok: bool = True
    count: int
    tablets: list[Tablet]


class Revoked(BaseModel):
    """Whose access was taken back."""

    ok: bool = True
    tabletId: str
    revokedAt: str


@router.post("/api/tablets/pairings", dependencies=_ADMIN_ONLY)
async def offer_pairing(request: Request, wanted: PairingRequest) -> PairingOffer:
    """A code for a new tablet."""
    context = context_of(request)
    offer = await context.revocation.registry.offer(wanted.name)
    port = request.url.port or context.settings.port
    return PairingOffer(
        code=offer.code, expiresAt=offer.expires_at, addresses=_addresses(request.url.scheme, port)
    )


@router.post("/auth/pair", dependencies=[Depends(access.limited("auth/pair", 10))], tags=["auth"])
async def pair(request: Request, given: PairRequest) -> OperatorToken:
    """Use a code up: a token for this tablet."""
    context = context_of(request)
    tablet = await context.revocation.registry.take(given.code)
    if tablet is None:
        raise ApiError(403, "This code is wrong, used, or older than 5 minutes; ask for a new one")
    context.node.hub.audit.note(tablet.tablet_id, "tablet.pair", tablet.tablet_id, tablet.name)
    return _token(request, tablet.tablet_id, DeviceType.TABLET, tablet.name)


@router.post(
    "/auth/refresh-token", dependencies=[Depends(access.limited("auth/refresh", 60))], tags=["auth"]
)
async def refresh_token(
    request: Request,
    caller: Annotated[access.Caller, Depends(access.only(DeviceType.TABLET, DeviceType.DASHBOARD))],
) -> OperatorToken:
    """A new token for who has one: the same identity, so locks and sessions stay."""
    if caller.identity is None:
        raise ApiError(400, "An admin key does not expire; send a device token")
    who = caller.identity
    paired = {row.tablet_id: row for row in await context_of(request).revocation.registry.paired()}
    name = paired[who.device_id].name if who.device_id in paired else who.device_id
    return _token(request, who.device_id, who.device_type, name)


def _token(request: Request, device_id: str, kind: DeviceType, name: str) -> OperatorToken:
    tokens = context_of(request).tokens
    token = tokens.issue(device_id, kind)
    return OperatorToken(
        token=token,
        deviceId=device_id,
        deviceType=kind,
        name=name,
        expiresAt=tokens.read(token).expires_at,
    )


@router.get("/api/tablets", dependencies=[_API, Depends(access.any_token)])
async def tablets(request: Request) -> TabletList:
    """Who holds locks: every paired tablet, and every other one that is connected."""
    registry = context_of(request).revocation.registry
    connected = await registry.connected()
    rows = [
        Tablet(
            tabletId=tablet.tablet_id,
            name=tablet.name,
            paired=True,
            pairedAt=tablet.paired_at,
            revokedAt=tablet.revoked_at or None,
            socketId=connected.pop(tablet.tablet_id, None),
        )
        for tablet in await registry.paired()
    ]
    rows += [
        Tablet(tabletId=identity, name=identity, paired=False, socketId=socket_id)
        for identity, socket_id in connected.items()
    ]
    return TabletList(count=len(rows), tablets=rows)


@router.delete("/api/tablets/{tablet_id}", dependencies=_ADMIN_ONLY)
async def revoke(
    request: Request,
    tablet_id: Annotated[str, Path(pattern=DEVICE_ID_PATTERN)],
    caller: access.Admin,
) -> Revoked:
    """Shut a paired tablet out at once; what it holds is freed after its grace."""
    context = context_of(request)
    try:
        tablet = await context.revocation.revoke(tablet_id)
    except UnknownTabletError:
        raise ApiError(404, "No tablet of this id was paired") from None
    context.node.hub.audit.note(
        caller.name, "tablet.revoke", tablet_id, tablet.name, claimed=caller.claimed
    )
    return Revoked(tabletId=tablet.tablet_id, revokedAt=tablet.revoked_at)


def _addresses(scheme: str, port: int) -> list[str]:
    """This machine's URLs in its networks: what a tablet can open when we were opened locally."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family is socket.AF_INET:
                ip = ipaddress.IPv4Address(address.address)
                if not ip.is_loopback and not ip.is_link_local:
                    found.append(f"{scheme}://{ip}:{port}")
    return found
