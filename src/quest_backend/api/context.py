"""What routers need of the server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fastapi import Request

from quest_backend.jobs.queue import QaQueue
from quest_backend.jobs.timelines import Timelines
from quest_backend.metrics import Metrics
from quest_backend.realtime.node import Node
from quest_backend.realtime.revocation import Revocation
from quest_backend.settings import Settings
from quest_backend.state.qa import QaStore
from quest_backend.state.qa_lists import QaLists
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.service import Storage
from quest_backend.tokens import Tokens

if TYPE_CHECKING:
    from quest_backend.api.access import HttpLimiter


class Readiness:
    """Whether a dependency answers, asked at most once a second, however many ask us."""

    _AGE_S = 1.0

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._up = False

    async def is_up(self) -> bool:
        """Its last answer, at most a second old."""
        async with self._asking:
            if time.monotonic() - self._asked_at > self._AGE_S:
                try:
                    async with asyncio.timeout(self._AGE_S):
                        await self._probe()
                except (StoreUnavailable, TimeoutError):
                    self._up = False
                else:
                    self._up = True
                self._asked_at = time.monotonic()
            return self._up


@dataclass(frozen=True, slots=True)
class Quality:
    """What is measured of recordings, the lists of it, and the work of measuring."""

    store: QaStore
    lists: QaLists
    queue: QaQueue
    timelines: Timelines


@dataclass(frozen=True, slots=True)
class Context:
    """The server's parts, as REST sees them. ``dependencies`` probe themselves by name."""

    settings: Settings
    tokens: Tokens
    node: Node
    revocation: Revocation
    storage: Storage
    qa: Quality
    metrics: Metrics
    limiter: "HttpLimiter"
    dependencies: dict[str, Callable[[], Awaitable[None]]]
    readiness: Readiness
    started_at: float


def context_of(request: Request) -> Context:
    """The context of the app that got this request."""
    return cast(Context, request.app.state.context)
