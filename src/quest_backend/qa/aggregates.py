"""Overview and averages over all sessions, kept as running sums.

Everything is a whole number (scores in hundredths), so sums never drift: adding a session and
taking it away again gives exactly what was there before, in any order.
"""

from dataclasses import astuple, dataclass
from fractions import Fraction

from typing_extensions import TypedDict

from quest_backend.qa.report import SessionQA
from quest_backend.qa.rounding import rounded

ISSUE_BELOW = 80


class Overview(TypedDict):
    """The schema's overview; ``lastUpdated`` is ISO 8601."""

    totalSessions: int
    completeSessions: int
    lastUpdated: str


class AggregateStats(TypedDict):
    """The schema's averages of stage scores, 0..100, and how many overall scores are below 80."""

    avgCaptureQuality: float
    avgTrackingConfidence: float
    avgValidationScore: float
    sessionsWithIssues: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over sessions; scores in hundredths of a point."""

    sessions: int = 0
    complete: int = 0
    with_issues: int = 0
    capture: int = 0
    tracking: int = 0
    validation: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


def share_of(session: SessionQA) -> Totals:
    """What one session adds to the totals."""
    stages = session["stages"]
    return Totals(
        sessions=1,
        complete=int(session["status"] == "complete"),
        with_issues=int(session["overallQualityScore"] < ISSUE_BELOW),
        capture=_hundredths(stages["stage2_captureQuality"]["score"]),
        tracking=_hundredths(stages["stage12_trackingConfidence"]["score"]),
        validation=_hundredths(stages["stage10_validationTests"]["score"]),
    )


def _hundredths(score: float) -> int:
    return round(score * 100)


def overview(totals: Totals, last_updated: str) -> Overview:
    """The overview of these sums."""
    return {
        "totalSessions": totals.sessions,
        "completeSessions": totals.complete,
        "lastUpdated": last_updated,
    }


def aggregate_stats(totals: Totals) -> AggregateStats:
    """The averages of these sums, two decimals; zeros when there are no sessions."""

    def average(hundredths: int) -> float:
        return rounded(Fraction(hundredths, 100 * max(totals.sessions, 1)), 2)

    return {
        "avgCaptureQuality": average(totals.capture),
        "avgTrackingConfidence": average(totals.tracking),
        "avgValidationScore": average(totals.validation),
        "sessionsWithIssues": totals.with_issues,
    }
