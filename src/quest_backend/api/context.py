"""What routers need of the server."""

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
from quest_backend.storage.service import Storage
from quest_backend.tokens import Tokens

if TYPE_CHECKING:
    from quest_backend.api.access import HttpLimiter


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
    started_at: float


def context_of(request: Request) -> Context:
    """The context of the app that got this request."""
    return cast(Context, request.app.state.context)
