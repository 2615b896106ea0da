"""The work behind ``/api/qa-metrics``: what waits, runs and failed, and how to begin it anew."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.qa_models import (
    CleanedUp,
    DeadJob,
    QAStatus,
    Refreshing,
    RefreshStarted,
    Retried,
)
from quest_backend.jobs.forgetting import forget_gone

router = APIRouter(
    prefix="/api/qa-metrics",
    tags=["qa"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.admin)],
)

_SHOWN_DEAD = 100
JobId = Annotated[str, Path(pattern=r"^[a-zA-Z0-9:._-]{1,200}$")]


@router.post("/refresh")
async def refresh(request: Request, caller: access.Admin) -> RefreshStarted:
    """Look through the bucket and measure what is new; while one goes on, it is that one."""
    context = context_of(request)
    begun = await context.qa.queue.request_refresh()
    if begun:
        context.node.hub.audit.note(caller.name, "qa.refresh", "bucket", claimed=caller.claimed)
    return RefreshStarted(
        message="The refresh has begun" if begun else "A refresh is under way already"
    )


@router.get("/status")
async def status(request: Request) -> QAStatus:
    """What waits, runs, was done and has failed, and how far a refresh is."""
    queue = context_of(request).qa.queue
    progress = await queue.progress()
    going = progress.refreshing
    return QAStatus(
        queued=progress.queued,
        running=progress.running,
        done=progress.done,
        failed=progress.failed,
        refreshing=Refreshing(read=going.read, total=going.total) if going else None,
        dead=[
            DeadJob(id=job.id, sessionId=job.session_id, error=job.error, attempts=job.attempts,
                    at=job.at)
            for job in await queue.dead(_SHOWN_DEAD)
        ],
    )  # fmt: skip


@router.post("/dead/{job_id}/retry")
async def retry(request: Request, job_id: JobId, caller: access.Admin) -> Retried:
    """Try a job again that failed for good."""
    context = context_of(request)
    if not await context.qa.queue.retry(job_id):
        raise ApiError(404, "Job not found: it was tried again already, or is forgotten")
    context.node.hub.audit.note(caller.name, "qa.retry", job_id, claimed=caller.claimed)
    return Retried(id=job_id)


@router.post("/cleanup")
async def cleanup(request: Request, caller: access.Admin) -> CleanedUp:
    """Forget the results of recordings that are gone from the bucket; their reviews stay."""
    context = context_of(request)
    done = await forget_gone(context.qa.store, context.storage.store)
    if done.removed:
        detail = f"{done.removed} forgotten"
        context.node.hub.audit.note(
            caller.name, "qa.cleanup", "bucket", detail, claimed=caller.claimed
        )
    return CleanedUp(removed=done.removed, checked=done.checked)
