"""What Valkey keeps of the bucket's statistics: docs/state.md.

One pass over the bucket leaves a table; uploads since then are changes beside it, which are
whole in themselves ("this key now has so many bytes") and may be applied more than once.
"""

import asyncio
import base64
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from quest_backend.state import keys
from quest_backend.state.valkey import Valkey
from quest_backend.storage.tally import Tally, pack, unpack

_LEASE_MS = 30_000
# A table that was replaced is still read to its end; one whose pass died is not kept.
_OLD_TABLE_S = 60
_DRAFT_S = 600
_PIECE = 256 * 1024
_PIECES_AT_ONCE = 8
_CHANGES_AT_ONCE = 500
# Uploads since the last pass; more of them than this, and a pass is due anyway.
_MAX_CHANGES = 50_000
_MAX_TABLE = 2**30
REMOVED = -1
START = "0-0"


class TableGone(Exception):  # noqa: N818 - an answer
    """A newer pass has replaced the table."""


@dataclass(frozen=True, slots=True)
class StatsState:
    """What is known of the statistics. Times are Unix ms by Valkey's clock, 0 for never."""

    now_ms: int
    refreshing: bool
    revision: str = ""
    updated_ms: int = 0
    started_ms: int = 0
    failed_ms: int = 0
    objects_read: int = 0
    position: str = START
    error: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A finished upload, or (``size`` is REMOVED) a recording that was taken back."""

    position: str
    key: str
    size: int
    at_ms: int

    def apply(self, tally: Tally) -> None:
        """Once, or again."""
        if self.size == REMOVED:
            tally.remove(self.key)
        else:
            tally.put(self.key, self.size, datetime.fromtimestamp(self.at_ms / 1000, UTC))


class StatsRecords:
    """Shared by all nodes."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def state(self) -> StatsState:
        """As it is now."""
        pipe = self._valkey.client.pipeline(transaction=True)
        pipe.time()
        pipe.exists(keys.S3_STATS_LEASE)
        pipe.hgetall(keys.S3_STATS)
        (seconds, micros), leased, fields = await self._valkey.call(pipe.execute())
        return StatsState(
            now_ms=seconds * 1000 + micros // 1000,
            refreshing=bool(leased),
            revision=fields.get("revision", ""),
            updated_ms=int(fields.get("updatedMs", 0)),
            started_ms=int(fields.get("startedMs", 0)),
            failed_ms=int(fields.get("failedMs", 0)),
            objects_read=int(fields.get("objectsRead", 0)),
            position=fields.get("position", START),
            error=fields.get("error", ""),
        )

    async def take_lease(self) -> str | None:
        """The right to be the only one, on any node, that reads the bucket; None: taken."""
        owner = secrets.token_hex(8)
        client = self._valkey.client
        taken = await self._valkey.call(
            client.set(keys.S3_STATS_LEASE, owner, nx=True, px=_LEASE_MS)
        )
        return owner if taken else None

    async def renew(self, owner: str, objects_read: int) -> bool:
        """Keep the lease and say how far the pass is; False when it was lost."""
        return bool(
            await self._valkey.script(
                "renew_stats_lease", owner=owner, ttl_ms=_LEASE_MS, objects_read=objects_read
            )
        )

    async def fail(self, owner: str, error: str) -> None:
        """The pass came to nothing; what was known before stays."""
        await self._valkey.script("end_stats_pass", owner=owner, error=error[:500])

    async def save(self, owner: str, tally: Tally, started_ms: int, position: str) -> bool:
        """Make ``tally``, with every change up to ``position``, the statistics.

        False when the lease was lost: nothing has changed.
        """
        revision = secrets.token_hex(8)
        key = keys.s3_stats_table(revision)
        packed = await asyncio.to_thread(pack, tally)
        for start in range(0, len(packed), _PIECE):
            piece = await asyncio.to_thread(_deflated, packed[start : start + _PIECE])
            pipe = self._valkey.client.pipeline(transaction=True)
            pipe.rpush(key, piece)
            pipe.expire(key, _DRAFT_S)
            await self._valkey.call(pipe.execute())
        return bool(
            await self._valkey.script(
                "end_stats_pass",
                owner=owner,
                revision=revision,
                started_ms=str(started_ms),
                objects_read=str(tally.objects),
                position=position,
                old_ttl=_OLD_TABLE_S,
            )
        )

    async def table(self, revision: str) -> Tally:
        """The tally of a pass.

        Raises:
            TableGone: there is a newer one.
        """
        key, packed, at = keys.s3_stats_table(revision), bytearray(), 0
        while True:
            pieces = await self._valkey.call(
                self._valkey.client.lrange(key, at, at + _PIECES_AT_ONCE - 1)
            )
            for piece in pieces:
                packed += await asyncio.to_thread(_inflated, piece)
            at += len(pieces)
            if len(pieces) < _PIECES_AT_ONCE:
                break
            if len(packed) > _MAX_TABLE:
                raise TableGone(revision)
        try:
            return await asyncio.to_thread(unpack, bytes(packed))
        except ValueError:
            raise TableGone(revision) from None

    async def note(self, key: str, size: int, at_ms: int) -> None:
        """A recording's file was finished (or, with REMOVED, taken back)."""
        await self._valkey.call(
            self._valkey.client.xadd(
                keys.S3_STATS_CHANGES,
                {"key": key, "size": size, "atMs": at_ms},
                maxlen=_MAX_CHANGES,
                approximate=True,
            )
        )

    async def newest_change(self) -> str:
        """The position of the last change, for ``changes``."""
        rows = await self._valkey.call(
            self._valkey.client.xrevrange(keys.S3_STATS_CHANGES, count=1)
        )
        return str(rows[0][0]) if rows else START

    async def changes(self, after: str) -> list[Change]:
        """At most 500 changes after a position, in order."""
        rows = await self._valkey.call(
            self._valkey.client.xrange(
                keys.S3_STATS_CHANGES, min=f"({after}", count=_CHANGES_AT_ONCE
            )
        )
        return [
            Change(position, fields["key"], int(fields["size"]), int(fields["atMs"]))
            for position, fields in rows
        ]


def _deflated(piece: bytes) -> str:
    return base64.b64encode(zlib.compress(piece, 1)).decode()


def _inflated(piece: str) -> bytes:
    inflating = zlib.decompressobj()
    return inflating.decompress(base64.b64decode(piece), _PIECE)
