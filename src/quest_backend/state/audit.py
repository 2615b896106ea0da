"""The audit trail: who did what to which headset or session, in a Valkey stream for 90 days."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog

from quest_backend.clock import Clock
from quest_backend.protocol.limits import AUDIT_WINDOW_S
from quest_backend.state import keys
from quest_backend.state.valkey import StoreUnavailable, Valkey

log = structlog.get_logger()

_MAX_WAITING = 10_000
_BATCH = 500
_FLUSH_S = 0.5
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """``actor`` is a tablet's identity, ``admin`` or ``server``; ``at`` is ISO 8601 UTC.

    ``claimed`` is what an admin said to be called. ``entry_id`` orders entries and names one to go
    on from.
    """

    at: str
    actor: str
    action: str
    subject: str
    detail: str = ""
    entry_id: str = ""
    claimed: str = ""

    def has(self, words: list[str]) -> bool:
        """Whether every one of ``words``, in lower case, is in it."""
        hay = f"{self.at} {self.actor} {self.action} {self.subject} {self.detail}".lower()
        return all(word in hay for word in words)


class AuditTrail:
    """Written behind, in order, so that no command waits for its own record."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock
        self._waiting: deque[AuditEntry] = deque()
        self._lost = 0
        self._writing = asyncio.Lock()

    def note(
        self, actor: str, action: str, subject: str, detail: str = "", *, claimed: str = ""
    ) -> None:
        """Something was done. With the store away for long, what no longer fits is logged only."""
        if len(self._waiting) >= _MAX_WAITING:
            self._lost += 1
            log.error("audit_entry_lost", actor=actor, action=action, subject=subject)
            return
        self._waiting.append(
            AuditEntry(self._clock.iso(), actor, action, subject, detail, claimed=claimed)
        )

    async def flush(self) -> None:
        """Write what waits; it goes on waiting when the store is away.

        Raises:
            StoreUnavailable: nothing, or only a part, is known to be written.
        """
        async with self._writing:
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        oldest = self._clock.unix_ms() - AUDIT_WINDOW_S * 1000
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(_BATCH, len(self._waiting)))]
            pipe = self._valkey.client.pipeline(transaction=True)
            for entry in batch:
                fields: dict[Any, Any] = {
                    "at": entry.at,
                    "actor": entry.actor,
                    "action": entry.action,
                    "subject": entry.subject,
                    "detail": entry.detail,
                    **({"claimed": entry.claimed} if entry.claimed else {}),
                }
                pipe.xadd(keys.AUDIT, fields, minid=str(oldest), approximate=True)
            await self._valkey.call(pipe.execute())
            for _ in batch:
                self._waiting.popleft()

    async def keep_writing(self) -> None:
        """For ever: write what waits, twice a second."""
        away = False
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                await self.flush()
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning(
                        "audit_waits_for_store", reason=str(error), waiting=len(self._waiting)
                    )
                away = True

    async def newest_first(self, before: str = "") -> AsyncIterator[AuditEntry]:
        """Every entry of the last 90 days, or those older than the entry id ``before``.

        What this node noted before the call is among them.

        Raises:
            StoreUnavailable: the trail cannot be read, or lacks what waits here.
        """
        await self.flush()
        oldest = str(self._clock.unix_ms() - AUDIT_WINDOW_S * 1000)
        end = f"({before}" if before else "+"
        while True:
            rows = await self._valkey.call(
                self._valkey.client.xrevrange(keys.AUDIT, max=end, min=oldest, count=_PAGE)
            )
            for entry_id, fields in rows:
                yield AuditEntry(
                    fields["at"], fields["actor"], fields["action"], fields["subject"],
                    fields.get("detail", ""), entry_id, fields.get("claimed", ""),
                )  # fmt: skip
            if len(rows) < _PAGE:
                return
            end = f"({rows[-1][0]}"
