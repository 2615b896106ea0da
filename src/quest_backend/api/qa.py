"""Quality of recordings: lists, one, its chart and files, and what people decided on it."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.api.qa_models import (
    QAFiles,
    QAMetrics,
    QAPage,
    QASessionBody,
    QASummary,
    QATimeline,
    ReviewBody,
    ReviewGiven,
    VerdictName,
)
from quest_backend.api.uploads import endpoint_of
from quest_backend.protocol.limits import SESSION_ID_PATTERN
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.aggregates import aggregate_stats, overview
from quest_backend.qa.ranges import ShortRead
from quest_backend.qa.timeline import runs
from quest_backend.state import qa_lists
from quest_backend.state.qa import Kept, Review, Take
from quest_backend.state.qa_lists import BadCursor
from quest_backend.storage.s3 import ObjectStoreUnavailable

router = APIRouter(
    prefix="/api/qa-metrics",
    tags=["qa"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.admin)],
)

SessionId = Annotated[str, Path(pattern=SESSION_ID_PATTERN, max_length=100)]
Sort = Literal["date", "-date", "score", "-score", "verdict", "-verdict"]
_FILE_URL_S = 3600
_LISTING = {"limit", "cursor", "verdict", "review", "since", "sort"}
_ACTIONS = {"accepted": "review.accept", "rejected": "review.reject", None: "review.clear"}


@router.get("", responses={200: {"model": QAMetrics | QAPage}})
async def sessions(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=120, description="`next` of the page before")] = "",
    verdict: Annotated[list[VerdictName] | None, Query(description="only these")] = None,
    review: Annotated[
        list[Literal["accepted", "rejected", "open"]] | None, Query(description="only these")
    ] = None,
    since: Annotated[datetime | None, Query(description="recorded from then on, ISO 8601")] = None,
    sort: Sort = "-date",
) -> Response:
    """The schema's whole object; with any parameter, a page of a list.

    `since` and the order by date go by the time that a recording's folder is named after. Of
    verdicts, PASS comes before WARN before FAIL. A review of files that have changed since counts
    as `open`.
    """
    if not _LISTING & request.query_params.keys():
        return await _whole(request)
    query = qa_lists.Query(
        order=sort.removeprefix("-"),  # type: ignore[arg-type]  # one of three, by Sort
        descending=sort.startswith("-"),
        verdicts=_each_once(verdict) or qa_lists.VERDICTS,
        reviews=_each_once(review) or qa_lists.REVIEWS,
        since=_folder(since),
        cursor=cursor,
        limit=limit,
    )
    qa = context_of(request).qa
    try:
        listed = await qa.lists.find(query)
    except BadCursor as error:
        raise ApiError(400, str(error)) from None
    rows = [shown(request, kept) for kept in await qa.store.read(listed.ids)]
    return json_response({"ok": True, "sessions": rows, "next": listed.next, "total": listed.total})


def _each_once(values: "list[Any] | None") -> list[Any]:
    return list(dict.fromkeys(values or ()))


def _folder(since: datetime | None) -> str:
    if since is None:
        return ""
    aware = since if since.tzinfo else since.replace(tzinfo=UTC)
    try:
        return f"{aware.astimezone(UTC):%Y%m%d_%H%M%S}"
    except OverflowError:
        raise ApiError(400, "since: no time that can be written in UTC") from None


async def _whole(request: Request) -> Response:
    store = context_of(request).qa.store
    head = await _head(request)
    pages = store.stream()
    # Before the answer begins, a store that is away can still be told.
    nothing: list[str] = []
    first = await anext(pages, nothing)
    return StreamingResponse(_written(head, first, pages), media_type="application/json")


async def _written(
    head: dict[str, Any], first: list[str], pages: AsyncIterator[list[str]]
) -> AsyncIterator[bytes]:
    yield orjson.dumps({"ok": True, **head})[:-1] + b',"sessions":['
    yield ",".join(first).encode()
    async for page in pages:
        yield b"," + ",".join(page).encode()
    yield b"]}"


async def _head(request: Request) -> dict[str, Any]:
    totals, updated = await context_of(request).qa.store.totals()
    return {"overview": overview(totals, updated), "aggregateStats": aggregate_stats(totals)}


@router.get("/summary", responses={200: {"model": QASummary}})
async def summary(request: Request) -> Response:
    """Overview and averages, from running sums."""
    head = await _head(request)
    return json_response({"ok": True, **head, "sessionCount": head["overview"]["totalSessions"]})


@router.get("/{session_id}", responses={200: {"model": QASessionBody}})
async def session(request: Request, session_id: SessionId) -> Response:
    """One session; the verdict is by the thresholds of now."""
    return json_response({"ok": True, **shown(request, await kept_of(request, session_id))})


async def kept_of(request: Request, session_id: str) -> Kept:
    """The result.

    Raises:
        ApiError: 404.
    """
    found = await context_of(request).qa.store.read([session_id])
    if not found:
        raise ApiError(404, "Session not found")
    return found[0]


def shown(request: Request, kept: Kept) -> dict[str, Any]:
    """A result with its verdict and its review, as QASessionShown."""
    judge = context_of(request).qa.store.judge
    return {
        **kept.session,
        **judge.decide(kept.session, kept.origin.wanted),
        "review": _review_shown(kept.review),
        "captureSessionId": kept.origin.capture_session or None,
        "take": asdict(kept.origin.take) if kept.origin.take != Take() else None,
    }


def _review_shown(review: Review | None) -> dict[str, Any] | None:
    if review is None:
        return None
    return {
        "decision": review.decision,
        "reason": review.reason,
        "by": review.by,
        "at": review.at,
        "stale": review.stale,
    }


@router.get("/{session_id}/files", responses={200: {"model": QAFiles}})
async def files(request: Request, session_id: SessionId) -> Response:
    """Where the two files can be read for an hour, also by range."""
    await kept_of(request, session_id)
    storage = context_of(request).storage
    endpoint = endpoint_of(request)
    found: dict[str, Any] = {}
    for file_type in FileType:
        key = key_of(session_id, file_type)
        stored = await storage.store.head(key)
        found[file_type.value] = None
        if stored is not None:
            url = await storage.store.read_url(endpoint, key, _FILE_URL_S)
            found[file_type.value] = {"url": url, "bytes": stored.size}
    return json_response({"ok": True, **found})


@router.get("/{session_id}/timeline", responses={200: {"model": QATimeline}})
async def timeline(request: Request, session_id: SessionId) -> Response:
    """Confidence and flags over time, for a chart."""
    kept = await kept_of(request, session_id)
    try:
        lanes = await context_of(request).qa.timelines.of(session_id)
    except (TimeoutError, ShortRead):
        raise ObjectStoreUnavailable("a range of the recording did not come in time") from None
    if lanes is None:
        raise ApiError(404, "This recording's data is missing or cannot be read")
    extended, starts, frames = kept.session["extended"], lanes["starts"], lanes["frames"]
    return json_response(
        {
            "ok": True,
            "sessionId": session_id,
            "fps": extended["framesPerSecond"],
            **lanes,
            "flagIntervals": extended["flagIntervals"],
            "dropouts": {
                "left": runs(lanes["leftLost"], starts, frames),
                "right": runs(lanes["rightLost"], starts, frames),
            },
        }
    )


@router.put("/{session_id}/review")
async def review(
    request: Request,
    session_id: SessionId,
    given: ReviewGiven,
    caller: access.Admin,
) -> ReviewBody:
    """Decide on a recording as it is now, or clear the decision."""
    context = context_of(request)
    by = caller.claimed or caller.name
    try:
        kept = await context.qa.store.review(session_id, given.decision, given.reason, by)
    except LookupError:
        raise ApiError(404, "Session not found") from None
    context.node.hub.audit.note(
        caller.name, _ACTIONS[given.decision], session_id, given.reason, claimed=caller.claimed
    )
    return ReviewBody.model_validate({"review": _review_shown(kept)})
