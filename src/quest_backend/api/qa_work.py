"""The work behind ``/api/qa-metrics``: what waits, runs and failed, and how to begin it anew."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.qa_models import CleanedUp
from quest_backend.jobs.forgetting import forget_gone

router = APIRouter(
    prefix="/api/qa-metrics",
    tags=["qa"],
    dependencies=[Depends(access.limited("api", 100)), Depends(access.admin)],
)

JobId = Annotated[str, Path(pattern=r"^[a-zA-Z0-9:._-]{1,200}$")]


@router.post("/cleanup")
async def cleanup(request: Request) -> CleanedUp:
    """Forget the results of recordings that are gone from the bucket; their reviews stay."""
    context = context_of(request)
    done = await forget_gone(context.qa.store, context.storage.store)
    if done.removed:
        context.node.hub.audit.note("admin", "qa.cleanup", "bucket", f"{done.removed} forgotten")
    return CleanedUp(removed=done.removed, checked=done.checked)
