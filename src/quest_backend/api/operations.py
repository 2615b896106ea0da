"""Is it up, how is it, and its numbers."""

import asyncio
import time
from functools import cache
from typing import Any

import orjson
import psutil
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from quest_backend import __version__
from quest_backend.api import access
from quest_backend.api.context import Context, context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.clock import Clock
from quest_backend.protocol.publish import asyncapi
from quest_backend.qa.aggregates import aggregate_stats
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.s3 import ObjectStoreUnavailable
from quest_backend.tokens import same_secret

router = APIRouter(tags=["operations"])

_PROBE_S = 1.0


@router.get("/test", dependencies=[Depends(access.limited("test", 60, per_node=True))])
async def test() -> dict[str, Any]:
    """The server answers."""
    return {"ok": True, "message": "Quest VR Backend is running", "time": Clock().iso()}


@router.get("/health", dependencies=[Depends(access.limited("health", 60, per_node=True))])
async def health(request: Request) -> Response:
    """Whether the server and what it depends on work; 503 when something does not."""
    context = context_of(request)
    states = await _probe(context)
    memory = psutil.Process().memory_info()
    ok = all(state["ok"] for state in states.values())
    body = {
        "ok": ok,
        "version": __version__,
        "uptime": round(time.monotonic() - context.started_at, 3),
        "memoryUsage": {"rss": memory.rss, "vms": memory.vms},
        "timestamp": Clock().iso(),
        "dependencies": states,
    }
    if context.node.presence.draining:
        body |= {"ok": False, "error": "The server is stopping"}
        return json_response(body, 503)
    if not ok:
        down = ", ".join(name for name, state in states.items() if not state["ok"])
        body["error"] = f"Down: {down}"
    return json_response(body, 200 if ok else 503)


async def _probe(context: Context) -> dict[str, dict[str, Any]]:
    states: dict[str, dict[str, Any]] = {}
    for name, probe in context.dependencies.items():
        started = time.monotonic()
        try:
            async with asyncio.timeout(_PROBE_S):
                await probe()
        except (StoreUnavailable, ObjectStoreUnavailable, TimeoutError):
            states[name] = {"ok": False}
        else:
            states[name] = {
                "ok": True,
                "latencyMs": round((time.monotonic() - started) * 1000, 2),
            }
    return states


@router.get("/ready")
async def ready(request: Request) -> Response:
    """Whether new clients should come here: not while the server stops or has lost Valkey.

    For load balancers, on each node of its own. An S3 that is down is no reason to leave: it is
    down for all nodes, and sockets do not need it. Not rate limited, and cheap: Valkey is asked at
    most once a second.
    """
    context = context_of(request)
    if context.node.presence.draining:
        return json_response({"ok": False, "error": "The server is stopping"}, 503)
    if not await context.readiness.is_up():
        return json_response({"ok": False, "error": "Down: valkey"}, 503)
    return json_response({"ok": True})


@router.get("/metrics", dependencies=[Depends(access.limited("metrics", 30, per_node=True))])
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    context = context_of(request)
    wanted = context.settings.metrics_token
    if wanted is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not same_secret(given, wanted.get_secret_value()):
            raise ApiError(401, "Send the metrics token as 'Authorization: Bearer …'")
    await context.node.refresh_gauges()
    await context.storage.refresh_gauges()
    await _refresh_qa(context)
    return Response(context.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refresh_qa(context: Context) -> None:
    """Read what the gauges of QA need; the last known when Valkey is away."""
    try:
        context.metrics.qa_sessions = await context.qa.lists.counts()
        totals, _ = await context.qa.store.totals()
        jobs = await context.qa.queue.progress()
    except StoreUnavailable:
        return
    context.metrics.qa_jobs = {"queued": jobs.queued, "running": jobs.running, "dead": jobs.failed}
    averages = aggregate_stats(totals)
    context.metrics.qa_averages = {
        "capture": averages["avgCaptureQuality"],
        "tracking": averages["avgTrackingConfidence"],
        "validation": averages["avgValidationScore"],
    }


@router.get("/asyncapi.json", tags=["docs"])
async def asyncapi_document() -> Response:
    """The socket events, as AsyncAPI."""
    return Response(_asyncapi_bytes(), media_type="application/json")


@cache
def _asyncapi_bytes() -> bytes:
    # Building it takes tens of milliseconds of the event loop.
    return orjson.dumps(asyncapi())
