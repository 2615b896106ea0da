"""What is measured beyond the schema's stages; it goes into ``extended``."""

import numpy as np
from numpy.typing import NDArray

from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.recording import BoolArray, FloatArray, Recording, Unreadable
from quest_backend.qa.report import Extended, HandMeasures, VideoMeasures
from quest_backend.qa.rounding import percent
from quest_backend.qa.video import Video

LOW_CONFIDENCE = 0.8
# A usual hour has some dozens; a hostile one as many as frames.
MAX_INTERVALS = 1000

# Names of the flags in intervals and lanes, and the arrays they come from.
FLAG_NAMES = {
    "bothHandsNotInFrame": "both_hands_not_in_frame",
    "trackingErrors": "tracking_errors",
    "handSpeedExceeded": "hand_speed_exceeded",
}


def frame_rate(frames: int, duration_s: float | None) -> float | None:
    """Frames per second; None when the duration is not known, or not positive."""
    if duration_s is None or duration_s <= 0:
        return None
    return frames / duration_s


def runs(flags: BoolArray) -> NDArray[np.int64]:
    """Where ``flags`` (frames,) is true: shape (runs, 2), each start and end, without end."""
    padded = np.zeros(len(flags) + 2, np.bool_)
    padded[1:-1] = flags
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def extended(
    recording: Recording | Unreadable, video: Video | Problem | None, problems: list[Problem]
) -> Extended:
    """All measures; ``problems`` gets what is wrong with the video."""
    if isinstance(recording, Unreadable):
        recording = _empty(recording)
        frames = None
    else:
        frames = recording.frames
    metadata = recording.metadata
    rate = _plausible_rate(recording, video)
    measured_video = video_measures(video, frames, rate, problems)
    flags = {name: getattr(recording, array) for name, array in FLAG_NAMES.items()}
    flagged = int(np.count_nonzero(np.logical_or.reduce(list(flags.values()))))
    count, intervals = flag_intervals(flags)
    return {
        "deviceId": metadata.device_id,
        "appVersion": metadata.app_version,
        "qaProfile": metadata.qa_profile,
        "durationSeconds": metadata.duration_s,
        "framesPerSecond": None if rate is None else round(rate, 3),
        "flaggedFrames": flagged,
        "flaggedFramesPercent": percent(flagged, recording.frames),
        "hands": {
            "left": hand(recording.tracked[0], recording.confidence[0], rate),
            "right": hand(recording.tracked[1], recording.confidence[1], rate),
        },
        "flagIntervalCount": count,
        "flagIntervals": intervals,
        "video": measured_video,
        "problems": [{"code": each.code.value, "message": each.message} for each in problems],
    }


def _empty(unreadable: Unreadable) -> Recording:
    none = np.zeros(0, np.bool_)
    zero = np.zeros(0, np.float64)
    return Recording((zero, zero), (none, none), none, none, none, unreadable.metadata)


def _plausible_rate(recording: Recording, video: Video | Problem | None) -> float | None:
    """By the metadata's duration, else by the video's."""
    durations = [recording.metadata.duration_s]
    if isinstance(video, Video):
        durations.append(video.duration_s)
    for duration in durations:
        rate = frame_rate(recording.frames, duration)
        if rate is not None and 1 <= rate <= 240:
            return rate
    return None


def hand(tracked: BoolArray, confidence: FloatArray, rate_hz: float | None) -> HandMeasures:
    """Measures of one hand; ``tracked`` and ``confidence`` have shape (frames,)."""
    gaps = runs(~tracked)
    longest = int((gaps[:, 1] - gaps[:, 0]).max(initial=0))
    frames = len(tracked)
    return {
        "trackedPercent": percent(int(np.count_nonzero(tracked)), frames),
        "highConfidencePercent": percent(
            int(np.count_nonzero(confidence >= LOW_CONFIDENCE)), frames
        ),
        "dropouts": len(gaps),
        "longestGapFrames": longest,
        "longestGapSeconds": None if rate_hz is None else round(longest / rate_hz, 3),
    }


def flag_intervals(flags: dict[str, BoolArray]) -> tuple[int, list[tuple[int, int, str]]]:
    """How many runs of flagged frames there are, and the longest ``MAX_INTERVALS``, in order."""
    found: list[tuple[int, int, str]] = []
    count = 0
    for name, lane in flags.items():
        spans = runs(lane)
        count += len(spans)
        longest = np.argsort(spans[:, 0] - spans[:, 1], kind="stable")[:MAX_INTERVALS]
        found.extend((int(start), int(end), name) for start, end in spans[longest])
    found.sort(key=lambda interval: (interval[0] - interval[1], interval[0]))
    return count, sorted(found[:MAX_INTERVALS])


def video_measures(
    video: Video | Problem | None,
    frames: int | None,
    rate_hz: float | None,
    problems: list[Problem],
) -> VideoMeasures | None:
    """The video's measures; it agrees when its frames are within a second's worth of the data's."""
    if video is None:
        problems.append(Problem(ProblemCode.MISSING_VIDEO, "there is no recording.mp4"))
        return None
    if isinstance(video, Problem):
        problems.append(video)
        return {
            "readable": False, "codec": None, "width": None, "height": None,
            "frameCount": None, "durationSeconds": None, "framesAgree": None,
        }  # fmt: skip
    agree = None
    if frames is not None and rate_hz is not None and video.frames is not None:
        agree = abs(video.frames - frames) <= rate_hz
        if not agree:
            problems.append(
                Problem(
                    ProblemCode.VIDEO_DISAGREES,
                    f"the video has {video.frames} frames, the data {frames}",
                )
            )
    return {
        "readable": True,
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "frameCount": video.frames,
        "durationSeconds": None if video.duration_s is None else round(video.duration_s, 3),
        "framesAgree": agree,
    }
