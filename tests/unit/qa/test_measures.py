"""What is measured beyond the schema."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import SESSION, Counted, arrays, metadata, npz

from quest_backend.qa.measures import MAX_INTERVALS, flag_intervals, runs
from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import read_recording
from quest_backend.qa.report import Extended
from quest_backend.qa.score import score_session
from quest_backend.qa.video import Video


def measured(
    video: Video | Problem | None = None, frames: int = 600, **changes: object
) -> Extended:
    data = npz(arrays(frames, **changes))
    recording = read(read_recording(len(data)), Counted(data))
    return score_session(SESSION, recording, video)["extended"]


@given(st.lists(st.booleans(), max_size=60))
def test_runs_are_those_that_going_frame_by_frame_finds(flags: list[bool]) -> None:
    expected, at = [], 0
    for value, group in itertools.groupby(flags):
        length = len(list(group))
        if value:
            expected.append([at, at + length])
        at += length
    assert runs(np.array(flags, np.bool_)).tolist() == expected


def test_a_hand_tells_how_it_was_lost() -> None:
    tracked = np.ones(600, np.bool_)
    tracked[:30] = tracked[100:220] = tracked[599] = False
    confidence = np.where(np.arange(600) < 450, 0.8, 0.79)
    hands = measured(left_tracked=tracked, left_confidence=confidence)["hands"]
    assert hands["left"] == {
        "trackedPercent": 74.83, "highConfidencePercent": 75, "dropouts": 3,
        "longestGapFrames": 120, "longestGapSeconds": 2,
    }  # fmt: skip
    assert hands["right"] == {
        "trackedPercent": 100, "highConfidencePercent": 100, "dropouts": 0,
        "longestGapFrames": 0, "longestGapSeconds": 0,
    }  # fmt: skip


def test_flags_are_intervals_without_their_end_in_order() -> None:
    errors, fast = np.zeros(600, np.bool_), np.zeros(600, np.bool_)
    errors[10:20] = errors[590:] = True
    fast[0] = fast[15:25] = True
    extended = measured(tracking_errors=errors, hand_speed_exceeded=fast)
    assert extended["flagIntervals"] == [
        (0, 1, "handSpeedExceeded"), (10, 20, "trackingErrors"),
        (15, 25, "handSpeedExceeded"), (590, 600, "trackingErrors"),
    ]  # fmt: skip
    assert extended["flagIntervalCount"] == 4
    assert extended["flaggedFrames"] == 26


def test_of_very_many_intervals_the_longest_are_kept() -> None:
    lane = np.arange(3 * MAX_INTERVALS * 2) % 2 == 0
    lane[1000:1050] = True
    count, kept = flag_intervals({"trackingErrors": lane, "handSpeedExceeded": lane})
    assert count == 2 * len(runs(lane))
    assert len(kept) == MAX_INTERVALS
    assert kept == sorted(kept)
    assert (1000, 1051, "trackingErrors") in kept
    assert (1000, 1051, "handSpeedExceeded") in kept


def test_without_a_plausible_duration_the_video_gives_the_rate() -> None:
    unknown = np.array([metadata(600, duration_seconds=None)])
    gone = np.zeros(600, np.bool_)
    video = Video("h264", 640, 480, 600, 20.0)
    extended = measured(video, metadata=unknown, left_tracked=gone)
    assert extended["framesPerSecond"] == 30
    assert extended["hands"]["left"]["longestGapSeconds"] == 20
    extended = measured(None, metadata=unknown, left_tracked=gone)
    assert extended["framesPerSecond"] is None
    assert extended["hands"]["left"]["longestGapSeconds"] is None


@pytest.mark.parametrize(
    ("video_frames", "agree"), [(600, True), (540, True), (660, True), (539, False), (661, False)]
)
def test_video_and_data_agree_within_a_second(video_frames: int, agree: bool) -> None:
    extended = measured(Video("h264", 640, 480, video_frames, 10.0))
    assert extended["video"] is not None
    assert extended["video"]["framesAgree"] is agree
    assert ("VIDEO_DISAGREES" in {each["code"] for each in extended["problems"]}) is not agree


def test_an_unreadable_video_is_a_problem_and_disturbs_nothing() -> None:
    extended = measured(Problem(ProblemCode.VIDEO_UNREADABLE, "no"))
    assert extended["video"] is not None
    assert not extended["video"]["readable"]
    assert [each["message"] for each in extended["problems"]] == ["no"]
