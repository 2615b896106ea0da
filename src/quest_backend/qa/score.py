"""The schema's three stages and overall score, exactly.

Shares are counted and rounded as whole numbers, so that a half is always rounded up, as people
and JavaScript's ``toFixed`` do, and no result depends on the order of additions.
"""

from datetime import timedelta
from fractions import Fraction

import numpy as np

from quest_backend.qa.measures import LOW_CONFIDENCE, extended, frame_rate
from quest_backend.qa.metadata import folder_time, is_session_id
from quest_backend.qa.problems import Problem, ProblemCode
from quest_backend.qa.recording import Recording, Unreadable
from quest_backend.qa.report import CaptureQuality, SessionQA, TrackingConfidence, ValidationTests
from quest_backend.qa.rounding import percent, rounded
from quest_backend.qa.video import Video

MAX_CLOCK_DIFFERENCE = timedelta(hours=24)
MIN_FRAME_RATE_HZ, MAX_FRAME_RATE_HZ = 1, 240
_WEIGHTS = (Fraction(4, 10), Fraction(3, 10), Fraction(3, 10))


def score_session(
    session_id: str, recording: Recording | Unreadable, video: Video | Problem | None
) -> SessionQA:
    """Everything that is measured of one session.

    Args:
        session_id: the session's folder. When it is named as the schema names sessions, the
            capture date has to lie near it.
        recording: what ``read_recording`` gave.
        video: what ``read_video`` gave; None when there is no video file.
    """
    problems: list[Problem] = []
    capture = capture_quality(recording)
    tests = validation_tests(session_id, recording, problems)
    confidence = tracking_confidence(recording)
    complete = isinstance(recording, Recording) and recording.metadata.success and video is not None
    return {
        "sessionId": session_id,
        "captureDate": recording.metadata.capture_date,
        "status": "complete" if complete else "incomplete",
        "stages": {
            "stage2_captureQuality": capture,
            "stage10_validationTests": tests,
            "stage12_trackingConfidence": confidence,
        },
        "overallQualityScore": overall(capture["score"], tests["score"], confidence["score"]),
        "extended": extended(recording, video, problems),
    }


def overall(capture: float, validation: float, confidence: float) -> float:
    """The schema's weighted sum of the stage scores as they are shown, 0..100."""
    shown = (Fraction(str(score)) for score in (capture, validation, confidence))
    return rounded(sum((w * s for w, s in zip(_WEIGHTS, shown, strict=True)), Fraction(0)), 2)


def capture_quality(recording: Recording | Unreadable) -> CaptureQuality:
    """Stage 2; zeros for a recording that cannot be read or has no frames."""
    if isinstance(recording, Unreadable):
        frames = absent = errors = fast = 0
    else:
        frames = recording.frames
        absent = int(np.count_nonzero(recording.both_hands_not_in_frame))
        errors = int(np.count_nonzero(recording.tracking_errors))
        fast = int(np.count_nonzero(recording.hand_speed_exceeded))
    return {
        "totalFrames": frames,
        "bothHandsNotInFramePercent": percent(absent, frames),
        "trackingErrorsPercent": percent(errors, frames),
        "handSpeedExceededPercent": percent(fast, frames),
        "validFramesPercent": percent(frames - absent - errors, frames),
        "score": percent(frames - absent - errors - fast, frames),
    }


def tracking_confidence(recording: Recording | Unreadable) -> TrackingConfidence:
    """Stage 12; zeros for a recording that cannot be read or has no frames."""
    if isinstance(recording, Unreadable):
        sums, low, frames = [Fraction(0), Fraction(0)], 0, 0
    else:
        sums = [Fraction(float(hand.sum())) for hand in recording.confidence]
        low = sum(int(np.count_nonzero(hand < LOW_CONFIDENCE)) for hand in recording.confidence)
        frames = recording.frames
    left, right = (total / max(frames, 1) for total in sums)
    both = (left + right) / 2
    return {
        "leftHandAvgConfidence": rounded(left, 4),
        "rightHandAvgConfidence": rounded(right, 4),
        "overallAvgConfidence": rounded(both, 4),
        "lowConfidenceFramesPercent": percent(low, 2 * frames),
        "score": rounded(both * 100, 2),
    }


def validation_tests(
    session_id: str, recording: Recording | Unreadable, problems: list[Problem]
) -> ValidationTests:
    """Stage 10; adds to ``problems`` why a check failed. All fail for an unreadable recording."""
    if isinstance(recording, Unreadable):
        problems.extend(recording.problems)
        checks = (False, False, False)
    else:
        if recording.metadata.problem is not None:
            problems.append(recording.metadata.problem)
        counted = _frame_count_problem(recording)
        dated = _timestamp_problems(session_id, recording)
        problems.extend([*counted, *dated])
        checks = (True, not counted, not dated)
    integrity, count, times = checks
    # In hundredths: 33.33, 33.33 and 33.34.
    points = (3333 if integrity else 0) + (3333 if count else 0) + (3334 if times else 0)
    return {
        "npzIntegrityCheck": integrity,
        "frameCountCheck": count,
        "timestampConsistency": times,
        "score": points / 100,
    }


def _frame_count_problem(recording: Recording) -> list[Problem]:
    total = recording.metadata.total_frames
    if recording.frames == 0:
        return [Problem(ProblemCode.NO_FRAMES, "the recording has no frames")]
    if total == recording.frames:
        return []
    says = "does not say how many" if total is None else f"says {total}"
    return [Problem(ProblemCode.FRAME_COUNT,
                    f"there are {recording.frames} frames; the metadata {says}")]  # fmt: skip


def _timestamp_problems(session_id: str, recording: Recording) -> list[Problem]:
    problems = []
    metadata = recording.metadata
    folder = folder_time(session_id)
    if metadata.captured_at is None:
        problems.append(Problem(ProblemCode.CAPTURE_DATE, "the capture date cannot be read"))
    elif folder is None:
        if is_session_id(session_id):
            problems.append(Problem(ProblemCode.CAPTURE_DATE, "the folder's time does not exist"))
    elif abs(metadata.captured_at - folder) > MAX_CLOCK_DIFFERENCE:
        problems.append(
            Problem(
                ProblemCode.CAPTURE_DATE, "the capture date is more than 24 h from the folder's"
            )
        )
    rate = frame_rate(recording.frames, metadata.duration_s)
    if rate is None or not MIN_FRAME_RATE_HZ <= rate <= MAX_FRAME_RATE_HZ:
        problems.append(
            Problem(
                ProblemCode.FRAME_RATE,
                f"the frame rate is not {MIN_FRAME_RATE_HZ} to {MAX_FRAME_RATE_HZ} per second",
            )
        )
    return problems
