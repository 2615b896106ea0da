"""Paired tablets in Valkey: offers by short code, who was paired, whose access was taken back."""

import secrets
from dataclasses import dataclass, replace
from typing import Any

import orjson

from quest_backend.clock import Clock
from quest_backend.protocol.limits import PAIRING_LIFETIME_S
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey

# No 0 O 1 I L U: nobody has to guess what is on the screen.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_CHARS = 8


class UnknownTabletError(Exception):
    """No tablet of this id was paired."""


@dataclass(frozen=True, slots=True)
class PairedTablet:
    """A tablet that was paired by code. ``revoked_at`` is '' while it has access."""

    tablet_id: str
    name: str
    paired_at: str
    revoked_at: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A code that pairs one tablet, once. ``expires_at`` is ISO 8601 UTC."""

    code: str
    expires_at: str


def normal_code(text: str) -> str:
    """A code as people type it, in the form that it is kept in."""
    return text.upper().replace("-", "").replace(" ", "")


class TabletRegistry:
    """Which tablets were paired, and which are connected."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock

    async def offer(self, name: str) -> Offer:
        """Make a code for a tablet that is to be called ``name``."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_CHARS))
        await self._valkey.call(
            self._valkey.client.set(keys.pairing(code), name, ex=PAIRING_LIFETIME_S)
        )
        expires = self._clock.unix_ms() + PAIRING_LIFETIME_S * 1000
        return Offer(code, self._clock.iso_of(expires))

    async def take(self, code: str) -> PairedTablet | None:
        """Use a code up, and know the tablet, in one step.

        None when there is no such code, or it was used, or is too old.
        """
        key = keys.pairing(normal_code(code))
        name = await self._valkey.call(self._valkey.client.get(key))
        if name is None:
            return None
        tablet = PairedTablet(f"tablet_{secrets.token_hex(8)}", name, self._clock.iso())
        taken = await self._valkey.script(
            "take_code",
            code=key,
            tablets=keys.PAIRED_TABLETS,
            tablet=tablet.tablet_id,
            record=_text_of(tablet),
        )
        return tablet if taken else None

    async def paired(self) -> list[PairedTablet]:
        """Every tablet that was paired, newest first."""
        rows = await self._valkey.call(self._valkey.client.hgetall(keys.PAIRED_TABLETS))
        tablets = [_tablet_of(tablet_id, text) for tablet_id, text in rows.items()]
        return sorted(tablets, key=lambda tablet: tablet.paired_at, reverse=True)

    async def revoke(self, tablet_id: str) -> PairedTablet:
        """Take a tablet's access back; again is the same.

        Raises:
            UnknownTabletError: never paired by code.
        """
        client = self._valkey.client
        text = await self._valkey.call(client.hget(keys.PAIRED_TABLETS, tablet_id))
        if text is None:
            raise UnknownTabletError(tablet_id)
        tablet = _tablet_of(tablet_id, text)
        if not tablet.revoked_at:
            tablet = replace(tablet, revoked_at=self._clock.iso())
            known = _text_of(tablet, orjson.loads(text))
            await self._valkey.call(client.hset(keys.PAIRED_TABLETS, tablet_id, known))
        return tablet

    async def revoked(self) -> set[str]:
        """Ids of the tablets that may no longer come in."""
        return {tablet.tablet_id for tablet in await self.paired() if tablet.revoked_at}

    async def connected(self) -> dict[str, str]:
        """Socket id of each tablet that is connected, or in its grace, by its identity."""
        client = self._valkey.client
        identities = sorted(await self._valkey.call(client.smembers(keys.TABLETS)))
        pipe = client.pipeline(transaction=False)
        for identity in identities:
            pipe.hget(keys.tablet(identity), "socketId")
        sockets = await self._valkey.call(pipe.execute())
        return {who: sid for who, sid in zip(identities, sockets, strict=True) if sid}


def _text_of(tablet: PairedTablet, known: dict[str, Any] | None = None) -> str:
    # What a later version keeps there stays.
    fields = {
        **(known or {}),
        "name": tablet.name,
        "pairedAt": tablet.paired_at,
        "revokedAt": tablet.revoked_at,
    }
    return orjson.dumps(fields).decode()


def _tablet_of(tablet_id: str, text: str) -> PairedTablet:
    fields = orjson.loads(text)
    return PairedTablet(tablet_id, fields["name"], fields["pairedAt"], fields["revokedAt"])
