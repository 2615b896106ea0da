"""The timeline against going over the frames one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from recordings import Counted, arrays, npz

from quest_backend.qa.ranges import read
from quest_backend.qa.recording import Recording, read_recording
from quest_backend.qa.timeline import MAX_POINTS, runs, timeline


def opened(frames: int, **changes: object) -> Recording:
    data = npz(arrays(frames, **changes))
    recording = read(read_recording(len(data)), Counted(data))
    assert isinstance(recording, Recording)
    return recording


FRAME = st.tuples(st.integers(0, 256), st.booleans(), st.booleans())


@given(st.lists(FRAME, min_size=1, max_size=60), st.integers(1, 40))
def test_points_are_means_and_any_of_their_frames(
    frames: list[tuple[int, bool, bool]], most: int
) -> None:
    values = [value / 256 for value, _, _ in frames]
    recording = opened(
        len(frames),
        left_confidence=np.array(values, np.float64),
        left_tracked=np.array([tracked for _, tracked, _ in frames], np.bool_),
        tracking_errors=np.array([error for _, _, error in frames], np.bool_),
    )
    made = timeline(recording, most)
    assert made["points"] == len(made["starts"]) == min(most, len(frames))
    ends = [*made["starts"][1:], len(frames)]
    covered = []
    for point, (start, end) in enumerate(zip(made["starts"], ends, strict=True)):
        part = frames[start:end]
        assert part
        covered.extend(part)
        mean = sum(values[start:end]) / len(part)
        assert abs(made["left"]["mean"][point] - mean) <= 0.00006
        assert abs(made["left"]["least"][point] - min(values[start:end])) <= 0.00006
        assert made["leftLost"][point] == any(not tracked for _, tracked, _ in part)
        assert made["flags"]["trackingErrors"][point] == any(error for _, _, error in part)
    assert covered == frames


def test_one_flagged_frame_among_many_stays_visible() -> None:
    errors = np.zeros(100_000, np.bool_)
    errors[54_321] = True
    made = timeline(opened(100_000, tracking_errors=errors), 10**9)
    assert made["points"] == MAX_POINTS
    assert sum(made["flags"]["trackingErrors"]) == 1
    assert made["flags"]["trackingErrors"][54_321 * MAX_POINTS // 100_000] == 1


def test_no_frames_are_no_points() -> None:
    made = timeline(opened(0))
    assert made["points"] == 0
    assert made["left"] == {"mean": [], "least": []}


def test_runs_of_a_lane_are_in_frames() -> None:
    assert runs([], [], 0) == []
    assert runs([0, 0], [0, 5], 9) == []
    assert runs([1, 1, 0, 1], [0, 5, 10, 15], 19) == [(0, 10), (15, 19)]
