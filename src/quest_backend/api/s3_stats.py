"""What the bucket holds (CONTRACT §8, schema S3Stats). Long lists are written as they go out."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.clock import Clock
from quest_backend.storage.bucket_report import (
    GB,
    Costs,
    DayStats,
    Insights,
    OutputFile,
    Overview,
    S3Stats,
    SessionFiles,
    SessionStats,
    TypeStats,
    newest_incomplete,
    newest_outputs,
    session_rows,
)
from quest_backend.storage.bucket_stats import BucketStats, StatsNotReady, StatsStatus, StatsView

router = APIRouter(
    prefix="/api/s3-stats",
    tags=["storage"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.admin)],
)

# How long a request waits: for the first statistics, and for a refresh.
_FIRST_S = 20.0
_REFRESH_S = 30.0
# Rows that are written at a time: about a millisecond of the event loop.
_SLICE = 500
_LISTED = 100


class StatsStatusAnswer(BaseModel):
    """``state`` is ``never`` before the first pass; ``updatedAt`` is then null, as ``error`` is
    when all is well. ``objectsRead``: so far while refreshing, else by the last pass."""

    ok: bool = True
    state: Literal["fresh", "refreshing", "stale", "never"]
    updatedAt: str | None
    objectsRead: int
    error: str | None


class StatsSummary(BaseModel):
    """S3Stats with at most 100 incomplete sessions and 100 outputs, newest first."""

    ok: bool = True
    overview: Overview
    byType: dict[str, TypeStats]
    sessionCount: int
    completeCount: int
    newestIncomplete: list[SessionFiles]
    outputCount: int
    outputsGB: float
    newestOutputs: list[OutputFile]
    timeline: list[DayStats]
    costs: Costs
    insights: Insights


@router.get("", responses={200: {"model": S3Stats}})
async def s3_stats(request: Request) -> Response:
    """All of it. Up to 5 minutes old, but with every upload that was finished here since."""
    return _streamed(_whole(await _view(request)))


@router.get("/summary")
async def numbers(request: Request) -> StatsSummary:
    """What a page shows: all but the long lists, and the newest of what they would have."""
    view = await _view(request)
    found = view.summary
    return StatsSummary(
        overview=found.overview,
        byType=found.by_type,
        sessionCount=found.total,
        completeCount=found.complete,
        newestIncomplete=newest_incomplete(view.tally, _LISTED),
        outputCount=found.outputs,
        outputsGB=found.outputs_gb,
        newestOutputs=newest_outputs(view.tally, _LISTED),
        timeline=found.timeline,
        costs=found.costs,
        insights=found.insights,
    )


@router.get("/overview", responses={200: {"model": Overview}})
async def overview(request: Request) -> Response:
    """Objects and bytes."""
    return json_response((await _view(request)).summary.overview)


@router.get("/sessions", responses={200: {"model": SessionStats}})
async def sessions(request: Request) -> Response:
    """Every session's files."""
    return _streamed(_sessions(await _view(request)))


@router.get("/timeline", responses={200: {"model": list[DayStats]}})
async def timeline(request: Request) -> Response:
    """What was stored on each day."""
    return json_response((await _view(request)).summary.timeline)


@router.get("/status")
async def status(request: Request) -> StatsStatusAnswer:
    """How old they are, and how far a refresh is."""
    return _answer(await _stats(request).status())


@router.post("/refresh")
async def refresh(request: Request) -> StatsStatusAnswer:
    """Read the bucket anew. Answers when that is done, or after 30 s with ``refreshing``."""
    return _answer(await _stats(request).refresh(_REFRESH_S))


def _stats(request: Request) -> BucketStats:
    return context_of(request).storage.stats


async def _view(request: Request) -> StatsView:
    try:
        return await _stats(request).view(_FIRST_S)
    except StatsNotReady as error:
        raise ApiError(503, str(error), {"Retry-After": "5"}) from None


def _answer(found: StatsStatus) -> StatsStatusAnswer:
    return StatsStatusAnswer(
        state=found.state,
        updatedAt=found.updated_at or None,
        objectsRead=found.objects_read,
        error=found.error or None,
    )


def _streamed(pieces: Iterator[bytes]) -> Response:
    return StreamingResponse(_in_turns(pieces), media_type="application/json")


async def _in_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def _whole(view: StatsView) -> Iterator[bytes]:
    numbers = asdict(view.summary)
    yield b'{"overview":%b,"byType":%b,"sessions":' % (
        orjson.dumps(numbers["overview"]), orjson.dumps(numbers["by_type"]),
    )  # fmt: skip
    yield from _sessions(view)
    yield b',"processedOutputs":'
    yield from _outputs(view)
    yield b',"timeline":%b,"costs":%b,"insights":%b}' % (
        orjson.dumps(numbers["timeline"]), orjson.dumps(numbers["costs"]),
        orjson.dumps(numbers["insights"]),
    )  # fmt: skip


def _sessions(view: StatsView) -> Iterator[bytes]:
    total, complete = view.summary.total, view.summary.complete
    yield b'{"total":%d,"complete":%d,"incomplete":%d,"sessions":[' % (
        total, complete, total - complete,
    )  # fmt: skip
    for start in range(0, total, _SLICE):
        yield _listed(session_rows(view.tally, start, start + _SLICE), first=start == 0)
    yield b"]}"


def _outputs(view: StatsView) -> Iterator[bytes]:
    head = orjson.dumps({"count": view.summary.outputs, "sizeGB": view.summary.outputs_gb})
    yield head[:-1] + b',"files":['
    left, first = iter(view.tally.outputs.items()), True
    while rows := [_output(*each) for each in islice(left, _SLICE)]:
        yield _listed(rows, first=first)
        first = False
    yield b"]}"


def _output(name: str, kept: tuple[int, int]) -> OutputFile:
    size, at_ms = kept
    return {"name": name, "sizeGB": size / GB, "date": Clock.iso_of(at_ms)}


def _listed(rows: list[Any], *, first: bool) -> bytes:
    """Rows within a JSON array."""
    return (b"" if first else b",") + orjson.dumps(rows)[1:-1]
