"""Bodies of ``/api/qa-metrics`` (schema "QA Metrics Structure")."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from quest_backend.qa.aggregates import AggregateStats, Overview
from quest_backend.qa.report import Extended, Stages
from quest_backend.qa.timeline import Timeline

VerdictName = Literal["PASS", "WARN", "FAIL"]
Decision = Literal["accepted", "rejected"]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class QASession(BaseModel):
    """One session of the schema."""

    sessionId: str
    captureDate: str
    status: str
    stages: Stages
    overallQualityScore: float


class QAMetrics(BaseModel):
    """The schema's whole object."""

    ok: bool = True
    overview: Overview
    sessions: list[QASession]
    aggregateStats: AggregateStats


class QASummary(BaseModel):
    """The schema's object without its sessions."""

    ok: bool = True
    overview: Overview
    aggregateStats: AggregateStats
    sessionCount: int


class ReviewShown(BaseModel):
    """A person's decision. ``stale``: the files have changed since, so it is open again."""

    decision: Decision
    reason: str
    by: str
    at: str
    stale: bool = False


class TakeShown(BaseModel):
    """What its operator wrote down; '' and 0 for nothing."""

    participant: str
    study: str
    task: str
    number: int


class QASessionShown(QASession):
    """One session, with what is measured beyond the schema, its verdict and its review.

    ``captureSessionId`` is the session of tablets in which it was recorded, ``take`` what was
    written down there; null when not known.
    """

    extended: Extended
    verdict: VerdictName
    profile: str
    reasons: list[str]
    review: ReviewShown | None
    captureSessionId: str | None
    take: TakeShown | None


class QASessionBody(QASessionShown):
    """One session."""

    ok: bool = True


class QAPage(BaseModel):
    """A page of a list. ``next`` is the cursor of the page after; ``total`` counts all pages."""

    ok: bool = True
    sessions: list[QASessionShown]
    next: str | None
    total: int


class FileShown(BaseModel):
    """One file: a URL that anybody may read by range for an hour, and its bytes."""

    url: str
    bytes: int


class QAFiles(BaseModel):
    """The two files of a recording; null for one that is not there."""

    ok: bool = True
    video: FileShown | None
    data: FileShown | None


class Dropouts(TypedDict):
    """Runs of frames in which a hand is not tracked: ``[start, end]``, ``end`` not in it."""

    left: list[tuple[int, int]]
    right: list[tuple[int, int]]


class QATimeline(Timeline):
    """Confidence and flags in at most 2,000 points; each starts at its frame of ``starts``.

    A flag's lane has 1 where any frame of the point is flagged, ``leftLost`` and ``rightLost``
    where the hand is not tracked in any. ``flagIntervals`` are ``[start, end, flag]`` in frames,
    ``end`` not in it; ``dropouts`` are as precise as the points.
    """

    ok: bool
    sessionId: str
    fps: float | None
    flagIntervals: list[tuple[int, int, str]]
    dropouts: Dropouts


class ReviewGiven(BaseModel):
    """What was decided; null clears it."""

    decision: Decision | None
    reason: Reason = ""


class ReviewBody(BaseModel):
    """The decision as it is kept."""

    ok: bool = True
    review: ReviewShown | None


class Refreshing(BaseModel):
    """How far a refresh is: recordings measured, of those found to be new so far."""

    read: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]


class DeadJob(BaseModel):
    """A job that failed for good; ``at`` is ISO 8601."""

    id: str
    sessionId: str
    error: str
    attempts: int
    at: str


class QAStatus(BaseModel):
    """The work of all nodes: recordings that wait, are being measured, were measured since ever.

    ``failed`` counts what failed for good; ``dead`` are the newest 100 of them.
    """

    ok: bool = True
    queued: int
    running: int
    done: int
    failed: int
    refreshing: Refreshing | None
    dead: list[DeadJob]


class RefreshStarted(BaseModel):
    """The bucket is being looked through; see ``/status``."""

    ok: bool = True
    message: str


class Retried(BaseModel):
    """The job waits again."""

    ok: bool = True
    id: str


class CleanedUp(BaseModel):
    """How many sessions were forgotten, as their files are gone; of how many."""

    ok: bool = True
    removed: int
    checked: int
