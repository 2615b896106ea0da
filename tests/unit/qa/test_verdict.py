"""Verdicts: thresholds, reasons in words, profiles."""

import copy
from typing import Any

import numpy as np
import pytest
from recordings import SESSION, Counted, arrays, npz

from quest_backend.qa.ranges import read
from quest_backend.qa.recording import missing, read_recording
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import (
    BUILT_IN,
    MEASURES,
    STANDARD,
    STRICT,
    Profile,
    ProfileError,
    Threshold,
    choose,
    decide,
    profiles,
)
from quest_backend.qa.video import Video

VIDEO = Video("h264", 320, 240, 600, 10.0)


def session(**changes: Any) -> SessionQA:
    data = npz(arrays(**changes))
    recording = read(read_recording(len(data)), Counted(data))
    return score_session(SESSION, recording, VIDEO)


def with_gap(frames: int) -> SessionQA:
    return session(left_tracked=np.arange(600) >= frames)


def test_a_good_recording_passes_every_profile_without_a_reason() -> None:
    for profile in BUILT_IN.values():
        assert decide(session(), profile) == {
            "verdict": "PASS", "profile": profile.name, "reasons": [],
        }  # fmt: skip


def test_reasons_say_what_was_measured_and_what_is_needed() -> None:
    verdict = decide(with_gap(200), STANDARD)
    assert verdict["verdict"] == "WARN"
    assert verdict["reasons"] == ["WARN: the left hand is tracked in 66.67%, not at least 80%"]
    verdict = decide(with_gap(200), STRICT)
    assert verdict["verdict"] == "FAIL"
    assert verdict["reasons"] == [
        "FAIL: the left hand is tracked in 66.67%, not at least 85%",
        "FAIL: the left hand's longest gap is 3.333 s, not at most 3 s",
    ]


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_judges_on_its_bound_and_not_before(name: str) -> None:
    measure = MEASURES[name]
    value = measure.read(session())
    assert value is not None
    worse = 0.5 if measure.less_is_better else -0.5
    for bound, expected in ((value, "PASS"), (value - worse, "FAIL")):
        profile = Profile("own", {name: Threshold(fail=bound)})
        assert decide(session(), profile)["verdict"] == expected
    reasons = decide(session(), Profile("own", {name: Threshold(warn=value - worse)}))["reasons"]
    assert len(reasons) == 1
    assert reasons[0].startswith(f"WARN: {measure.words}")


def test_failures_come_before_warnings() -> None:
    bounds = {"captureQuality": Threshold(warn=101), "trackingConfidence": Threshold(fail=101)}
    verdict = decide(session(), Profile("own", bounds))
    assert [reason[:4] for reason in verdict["reasons"]] == ["FAIL", "WARN"]


def test_an_unreadable_recording_fails_even_an_empty_profile_for_its_own_reason() -> None:
    verdict = decide(score_session(SESSION, missing(), None), Profile("none", {}))
    assert verdict["verdict"] == "FAIL"
    assert verdict["reasons"] == ["FAIL: there is no session_data.npz"]


def test_what_is_not_known_is_not_judged() -> None:
    unknown = copy.deepcopy(session())
    unknown["extended"]["hands"]["left"]["longestGapSeconds"] = None
    strictest = Profile("own", {"leftLongestGapSeconds": Threshold(fail=-1)})
    assert decide(unknown, strictest)["verdict"] == "PASS"


def test_own_profiles_start_from_built_in_ones() -> None:
    known = profiles({
        "pilot": {"durationSeconds": {"warn": 30}, "captureQuality": {}},
        "strict": {"captureQuality": {"warn": 99, "fail": 98}},
    })  # fmt: skip
    assert known["pilot"].thresholds["durationSeconds"] == Threshold(warn=30)
    assert known["pilot"].thresholds["captureQuality"] == Threshold()
    assert known["pilot"].thresholds["overallQualityScore"] == Threshold(80, 60)
    assert known["strict"].thresholds["captureQuality"] == Threshold(99, 98)
    assert known["strict"].thresholds["trackingConfidence"] == Threshold(95, 85)
    assert known["standard"] == STANDARD


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"beauty": {"warn": 1}}, "no measure 'beauty'"),
        ({"captureQuality": {"ward": 1}}, "no bound 'ward'"),
        ({"captureQuality": {"warn": 50, "fail": 60}}, "fails before it warns"),
        ({"flaggedFramesPercent": {"warn": 50, "fail": 40}}, "fails before it warns"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(bounds: Any, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        profiles({"own": bounds})


def test_the_first_profile_that_is_known_is_chosen() -> None:
    assert choose(BUILT_IN, "standard", None, "nobody's", "strict") is STRICT
    assert choose(BUILT_IN, "standard", "nobody's") is STANDARD
