"""The score is the schema's formula, checked against a slow restatement that shares no code."""

import json
import math
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import SESSION, Counted, arrays, metadata, npz

from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import missing, read_recording
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import overall, score_session
from quest_backend.qa.video import Video

VIDEO = Video("h264", 1280, 720, 600, 10.0)


def scored(
    made: dict[str, Any], session_id: str = SESSION, video: Video | Problem | None = VIDEO
) -> SessionQA:
    data = npz(made)
    recording = read(read_recording(len(data)), Counted(data))
    return score_session(session_id, recording, video)


def stages(made: dict[str, Any]) -> dict[str, Any]:
    return dict(scored(made)["stages"])


def problems(session: SessionQA) -> set[str]:
    return {each["code"] for each in session["extended"]["problems"]}


# The restatement: plain Python, exact numbers, one frame after the other.


def shown(value: Fraction, places: int) -> float:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return float(exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def restated(frames: list[tuple[float, float, bool, bool, bool]]) -> dict[str, float]:
    count = len(frames)
    absent = errors = fast = low = 0
    left = right = Fraction(0)
    for left_value, right_value, is_absent, is_error, is_fast in frames:
        absent, errors, fast = absent + is_absent, errors + is_error, fast + is_fast
        values = [Fraction(value) if math.isfinite(value) else Fraction(0)
                  for value in (left_value, right_value)]  # fmt: skip
        low += sum(value < Fraction(8, 10) for value in values)
        left, right = left + values[0], right + values[1]

    def share(part: int, whole: int) -> Fraction:
        return Fraction(100 * part, whole) if whole else Fraction(0)

    lost = [share(part, count) for part in (absent, errors, fast)]
    capture = max(Fraction(0), 100 - sum(lost, Fraction(0))) if count else Fraction(0)
    valid = max(Fraction(0), 100 - lost[0] - lost[1]) if count else Fraction(0)
    confidence = (left + right) / (2 * count) if count else Fraction(0)
    checks = [33.33, 33.33, 33.34] if count else [33.33]
    stage2, stage10, stage12 = shown(capture, 2), round(sum(checks), 2), shown(confidence * 100, 2)
    weighted = ((stage2, 4), (stage10, 3), (stage12, 3))
    whole = sum((Fraction(str(score)) * weight / 10 for score, weight in weighted), Fraction(0))
    return {
        "absent": shown(lost[0], 2), "errors": shown(lost[1], 2), "fast": shown(lost[2], 2),
        "valid": shown(valid, 2), "stage2": stage2, "stage10": stage10, "stage12": stage12,
        "left": shown(left / max(count, 1), 4), "right": shown(right / max(count, 1), 4),
        "overall confidence": shown(confidence, 4), "low": shown(share(low, 2 * count), 2),
        "overall": shown(whole, 2),
    }  # fmt: skip


def answered(session: SessionQA) -> dict[str, float]:
    stage2 = session["stages"]["stage2_captureQuality"]
    stage10 = session["stages"]["stage10_validationTests"]
    stage12 = session["stages"]["stage12_trackingConfidence"]
    return {
        "absent": stage2["bothHandsNotInFramePercent"], "errors": stage2["trackingErrorsPercent"],
        "fast": stage2["handSpeedExceededPercent"], "valid": stage2["validFramesPercent"],
        "stage2": stage2["score"], "stage10": stage10["score"], "stage12": stage12["score"],
        "left": stage12["leftHandAvgConfidence"], "right": stage12["rightHandAvgConfidence"],
        "overall confidence": stage12["overallAvgConfidence"],
        "low": stage12["lowConfidenceFramesPercent"], "overall": session["overallQualityScore"],
    }  # fmt: skip


# Confidences with few binary digits add up exactly, so that halves are compared too.
CONFIDENCE = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 0.75, 0.8125, 0.796875, math.nan, math.inf, -math.inf]),
    st.integers(0, 1024).map(lambda number: number / 1024),
)
FRAME = st.tuples(CONFIDENCE, CONFIDENCE, st.booleans(), st.booleans(), st.booleans())


def made_of(frames: list[tuple[float, float, bool, bool, bool]]) -> dict[str, Any]:
    left, right, absent, errors, fast = zip(*frames, strict=True) if frames else [()] * 5
    return arrays(
        len(frames),
        left_confidence=np.array(left, np.float32),
        right_confidence=np.array(right, np.float32),
        both_hands_not_in_frame=np.array(absent, np.bool_),
        tracking_errors=np.array(errors, np.bool_),
        hand_speed_exceeded=np.array(fast, np.bool_),
    )


@given(st.lists(FRAME, max_size=80))
def test_every_number_is_that_of_the_restated_formula(
    frames: list[tuple[float, float, bool, bool, bool]],
) -> None:
    assert answered(scored(made_of(frames))) == restated(frames)


@given(st.lists(FRAME, max_size=30), st.integers(0, 60))
def test_every_number_is_finite_and_in_its_range(
    frames: list[tuple[float, float, bool, bool, bool]], total: int
) -> None:
    made = made_of(frames) | {"metadata": np.array([metadata(total, duration_seconds=1e-300)])}
    session = scored(made)
    for name, value in answered(session).items():
        highest = 1 if name in ("left", "right", "overall confidence") else 100
        assert 0 <= value <= highest
    assert all(math.isfinite(number) for number in numbers(session))
    json.dumps(session, allow_nan=False)


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float):
        yield value


def test_halves_are_rounded_up() -> None:
    flags = np.zeros(800, np.bool_)
    flags[0] = True
    stage = stages(arrays(800, tracking_errors=flags))["stage2_captureQuality"]
    assert stage["trackingErrorsPercent"] == 0.13  # 0.125
    assert stage["score"] == 99.88  # 99.875


def test_flags_that_overlap_are_counted_twice_by_the_schema_and_once_in_extended() -> None:
    flags = np.arange(10) < 3
    session = scored(
        arrays(10, tracking_errors=flags, hand_speed_exceeded=flags, both_hands_not_in_frame=flags)
    )
    assert session["stages"]["stage2_captureQuality"]["score"] == 10
    assert session["stages"]["stage2_captureQuality"]["validFramesPercent"] == 40
    assert session["extended"]["flaggedFramesPercent"] == 30


def test_the_schemas_example_weights() -> None:
    assert overall(90, 100, 80) == 90
    assert overall(0, 66.66, 0) == 20
    assert overall(100, 100, 100) == 100
    assert overall(0, 0, 0) == 0


def test_a_missing_file_scores_zero_with_a_reason() -> None:
    session = score_session(SESSION, missing(), VIDEO)
    assert session["overallQualityScore"] == 0
    assert session["captureDate"] == "Unknown"
    assert problems(session) == {"MISSING_DATA"}


def test_an_unreadable_recording_fails_every_check_but_tells_its_date() -> None:
    session = scored(arrays(tracking_errors=None))
    assert session["stages"]["stage10_validationTests"] == {
        "npzIntegrityCheck": False, "frameCountCheck": False, "timestampConsistency": False,
        "score": 0,
    }  # fmt: skip
    assert all(value == 0 for value in answered(session).values())
    assert session["captureDate"] == "2026-02-06T14:30:52Z"
    assert session["status"] == "incomplete"


@pytest.mark.parametrize(
    ("changes", "frame_count", "timestamps"),
    [
        ({}, True, True),
        ({"total_frames": 599}, False, True),
        ({"total_frames": None}, False, True),
        ({"total_frames": 600.0}, True, True),
        ({"total_frames": True}, False, True),
        ({"capture_date": "2026-02-07T14:30:52Z"}, True, True),
        ({"capture_date": "2026-02-07T14:30:53Z"}, True, False),
        ({"capture_date": "2026-02-05T14:30:51Z"}, True, False),
        ({"capture_date": "2026-02-06T14:30:52"}, True, True),
        ({"capture_date": "2026-02-07T23:30:52+10:00"}, True, True),
        ({"capture_date": "yesterday"}, True, False),
        ({"capture_date": 1_770_388_252}, True, False),
        ({"capture_date": None}, True, False),
        ({"duration_seconds": 600}, True, True),
        ({"duration_seconds": 600.1}, True, False),
        ({"duration_seconds": 2.5}, True, True),
        ({"duration_seconds": 2.49}, True, False),
        ({"duration_seconds": 0}, True, False),
        ({"duration_seconds": -10}, True, False),
        ({"duration_seconds": None}, True, False),
        ({"duration_seconds": "10"}, True, False),
    ],
)
def test_checks_of_frame_count_and_times(
    changes: dict[str, Any], frame_count: bool, timestamps: bool
) -> None:
    made = arrays(metadata=np.array([metadata(600, **changes)]))
    tests = scored(made)["stages"]["stage10_validationTests"]
    assert tests["npzIntegrityCheck"]
    assert tests["frameCountCheck"] is frame_count
    assert tests["timestampConsistency"] is timestamps
    assert tests["score"] == {2: 100, 1: 66.67 if timestamps else 66.66}[frame_count + timestamps]


@pytest.mark.parametrize(
    "written",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"total_frames": NaN}', b'{"a": ' * 50_000, b"1" * 5000],
)  # fmt: skip
def test_metadata_that_cannot_be_read_fails_the_checks_that_need_it(written: bytes) -> None:
    session = scored(arrays(metadata=np.array([written])))
    assert session["stages"]["stage10_validationTests"]["score"] == 33.33
    assert session["stages"]["stage2_captureQuality"]["score"] == 100
    assert "BAD_METADATA" in problems(session)
    assert session["captureDate"] == "Unknown"


@pytest.mark.parametrize(
    "changes",
    [
        {"capture_date": "\x1b[2J"},
        {"capture_date": "9" * 101},
        {"total_frames": 1e999},
        {"total_frames": 10**400},
        {"duration_seconds": -1e999},
        {"device_id": {"a": 1}, "capture_date": []},
        {"capture_date": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_odd_metadata_never_reaches_the_output(changes: dict[str, Any]) -> None:
    text = json.dumps(json.loads(metadata(600)) | changes).replace("Infinity", "1e999")
    session = scored(arrays(metadata=np.array([text.encode()])))
    assert session["stages"]["stage10_validationTests"]["score"] < 100
    assert session["captureDate"].isprintable()
    assert len(session["captureDate"]) <= 100
    json.dumps(session, allow_nan=False)


def test_status_is_complete_only_with_success_and_both_files() -> None:
    assert scored(arrays())["status"] == "complete"
    assert scored(arrays(), video=None)["status"] == "incomplete"
    failed = arrays(metadata=np.array([metadata(600, success=False)]))
    assert scored(failed)["status"] == "incomplete"
    truthy = arrays(metadata=np.array([metadata(600, success="yes")]))
    assert scored(truthy)["status"] == "incomplete"


def test_a_folder_named_after_no_time_fails_and_another_name_is_not_compared() -> None:
    assert "CAPTURE_DATE" in problems(scored(arrays(), "20260230_143052"))
    assert "CAPTURE_DATE" not in problems(scored(arrays(), "take_7"))


def test_no_frames_score_zero_but_are_readable() -> None:
    session = scored(arrays(0))
    tests = session["stages"]["stage10_validationTests"]
    assert (tests["npzIntegrityCheck"], tests["frameCountCheck"]) == (True, False)
    assert not tests["timestampConsistency"]
    assert session["overallQualityScore"] == 10  # a third of the validation's 30
    assert ProblemCode.NO_FRAMES.value in problems(session)
