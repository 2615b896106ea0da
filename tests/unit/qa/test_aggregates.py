"""Running sums against computing everything anew from the list of sessions."""

import copy
import random
from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st
from recordings import SESSION

from quest_backend.qa.aggregates import Totals, aggregate_stats, overview, share_of
from quest_backend.qa.recording import missing
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session

EMPTY = score_session(SESSION, missing(), None)
SCORE = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


@st.composite
def sessions(draw: st.DrawFn) -> SessionQA:
    made = copy.deepcopy(EMPTY)
    made["status"] = draw(st.sampled_from(["complete", "incomplete"]))
    made["overallQualityScore"] = draw(SCORE | st.sampled_from([79.99, 80.0]))
    made["stages"]["stage2_captureQuality"]["score"] = draw(SCORE)
    made["stages"]["stage12_trackingConfidence"]["score"] = draw(SCORE)
    made["stages"]["stage10_validationTests"]["score"] = draw(SCORE)
    return made


def mean(values: list[float]) -> float:
    if not values:
        return 0
    exact = sum((Decimal(str(value)) for value in values), Decimal(0)) / len(values)
    return float(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


@given(st.lists(sessions(), max_size=20), st.lists(sessions(), max_size=20), st.randoms())
def test_sums_after_any_changes_are_those_of_what_is_left(
    kept: list[SessionQA], gone: list[SessionQA], order: random.Random
) -> None:
    changes = [(each, 1) for each in kept] + [(each, 1) for each in gone]
    order.shuffle(changes)
    changes += [(each, -1) for each in gone]
    totals = Totals()
    for session, sign in changes:
        totals = totals + share_of(session) if sign > 0 else totals - share_of(session)
    assert overview(totals, "now") == {
        "totalSessions": len(kept),
        "completeSessions": sum(each["status"] == "complete" for each in kept),
        "lastUpdated": "now",
    }
    stages = [each["stages"] for each in kept]
    assert aggregate_stats(totals) == {
        "avgCaptureQuality": mean([each["stage2_captureQuality"]["score"] for each in stages]),
        "avgTrackingConfidence": mean([each["stage12_trackingConfidence"]["score"] for each in stages]),
        "avgValidationScore": mean([each["stage10_validationTests"]["score"] for each in stages]),
        "sessionsWithIssues": sum(each["overallQualityScore"] < 80 for each in kept),
    }  # fmt: skip
