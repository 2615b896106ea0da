"""The audit trail: searched a page at a time, or exported as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.state.audit import AuditEntry, AuditTrail

router = APIRouter(
    prefix="/api/audit",
    tags=["audit"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.admin)],
)

Search = Annotated[
    str, Query(max_length=200, description="words that all occur in an entry, in any field")
]
# A search that finds nothing must not read millions of entries in one request.
_MAX_READ = 20_000
_COLUMNS = ("at", "actor", "name", "action", "subject", "detail")


class AuditRow(BaseModel):
    """Who (``actor``) did what to what.

    ``name`` is the one that a tablet was paired under, or that an admin claimed.
    """

    id: str
    at: str
    actor: str
    name: str
    action: str
    subject: str
    detail: str


class AuditPage(BaseModel):
    """Entries, newest first. ``next`` is the ``before`` of the page after, null at the end."""

    ok: bool = True
    count: int
    entries: list[AuditRow]
    next: str | None


@router.get("")
async def audit(
    request: Request,
    search: Search = "",
    before: Annotated[str, Query(pattern=r"^(\d{1,20}-\d{1,20})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """The last 90 days."""
    names = await _names(request)
    found: list[AuditRow] = []
    read, last = 0, before
    async for entry in _trail(request).newest_first(before):
        if len(found) == limit or read == _MAX_READ:
            return AuditPage(count=len(found), entries=found, next=last)
        read, last = read + 1, entry.entry_id
        row = _row(entry, names)
        if _matches(row, entry, search):
            found.append(row)
    return AuditPage(count=len(found), entries=found, next=None)


@router.get(".csv", response_class=StreamingResponse)
async def audit_csv(request: Request, search: Search = "") -> StreamingResponse:
    """The same as a file, whole."""
    names = await _names(request)
    return StreamingResponse(
        _csv(_trail(request), names, search),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
    )


def _trail(request: Request) -> AuditTrail:
    return context_of(request).node.hub.audit


async def _names(request: Request) -> dict[str, str]:
    rows = await context_of(request).revocation.registry.paired()
    return {tablet.tablet_id: tablet.name for tablet in rows}


def _row(entry: AuditEntry, names: dict[str, str]) -> AuditRow:
    return AuditRow(
        id=entry.entry_id,
        at=entry.at,
        actor=entry.actor,
        name=names.get(entry.actor, entry.claimed),
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
    )


def _matches(row: AuditRow, entry: AuditEntry, search: str) -> bool:
    return entry.has([word for word in search.lower().split() if word not in row.name.lower()])


async def _csv(trail: AuditTrail, names: dict[str, str], search: str) -> AsyncIterator[str]:
    yield _line(_COLUMNS)
    async for entry in trail.newest_first():
        row = _row(entry, names)
        if _matches(row, entry, search):
            yield _line([_harmless(getattr(row, column)) for column in _COLUMNS])


def _line(cells: "list[str] | tuple[str, ...]") -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _harmless(cell: str) -> str:
    # A name that starts like a formula would be run by a spreadsheet.
    return f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell
