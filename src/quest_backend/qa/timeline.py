"""Confidence and flags over time, with few enough points for a chart or a line of text."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from quest_backend.qa.measures import FLAG_NAMES
from quest_backend.qa.recording import BoolArray, FloatArray, Recording

MAX_POINTS = 2000


class ConfidenceLane(TypedDict):
    """Per point the mean of its frames, and their least, so that short dips stay visible."""

    mean: list[float]
    least: list[float]


class Timeline(TypedDict):
    """``points`` of equal length (to a frame); point ``i`` starts at frame ``starts[i]``.

    A flag's lane has 1 where any frame of the point is flagged; a hand's ``lost`` lane where it is
    not tracked in any.
    """

    frames: int
    points: int
    starts: list[int]
    left: ConfidenceLane
    right: ConfidenceLane
    leftLost: list[int]
    rightLost: list[int]
    flags: dict[str, list[int]]


def timeline(recording: Recording, max_points: int = MAX_POINTS) -> Timeline:
    """A recording in at most ``max_points`` points (1 to ``MAX_POINTS``), fewer for few frames."""
    points = min(max(1, min(max_points, MAX_POINTS)), recording.frames)
    starts = np.arange(points, dtype=np.int64) * recording.frames // max(points, 1)
    left, right = recording.confidence
    left_tracked, right_tracked = recording.tracked
    return {
        "frames": recording.frames,
        "points": points,
        "starts": [int(start) for start in starts],
        "left": _confidence(left, starts),
        "right": _confidence(right, starts),
        "leftLost": _any(~left_tracked, starts),
        "rightLost": _any(~right_tracked, starts),
        "flags": {
            name: _any(getattr(recording, array), starts) for name, array in FLAG_NAMES.items()
        },
    }


def runs(lane: list[int], starts: list[int], frames: int) -> list[tuple[int, int]]:
    """Where a lane is 1: ``(start, end)`` in frames, ``end`` not in it, to a point."""
    found: list[tuple[int, int]] = []
    ends = [*starts[1:], frames] if starts else []
    for mark, start, end in zip(lane, starts, ends, strict=True):
        if mark and found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        elif mark:
            found.append((start, end))
    return found


def _confidence(values: FloatArray, starts: NDArray[np.int64]) -> ConfidenceLane:
    if len(starts) == 0:
        return {"mean": [], "least": []}
    lengths = np.diff(starts, append=len(values))
    mean = np.add.reduceat(values, starts) / lengths
    least = np.minimum.reduceat(values, starts)
    return {"mean": mean.round(4).tolist(), "least": least.round(4).tolist()}


def _any(values: BoolArray, starts: NDArray[np.int64]) -> list[int]:
    if len(starts) == 0:
        return []
    found: list[int] = np.logical_or.reduceat(values, starts).astype(int).tolist()
    return found
