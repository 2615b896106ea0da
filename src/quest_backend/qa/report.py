"""What QA measures of one session, as it goes over the wire (schema "QA Metrics Structure").

Measurements only: what they mean is a verdict (``verdict.py``), which can change without reading
anything again. Every number is finite; percentages lie in 0..100 with two decimals, confidences in
0..1 with four.
"""

from typing_extensions import TypedDict


class CaptureQuality(TypedDict):
    """Stage 2."""

    totalFrames: int
    bothHandsNotInFramePercent: float
    trackingErrorsPercent: float
    handSpeedExceededPercent: float
    validFramesPercent: float
    score: float


class ValidationTests(TypedDict):
    """Stage 10."""

    npzIntegrityCheck: bool
    frameCountCheck: bool
    timestampConsistency: bool
    score: float


class TrackingConfidence(TypedDict):
    """Stage 12."""

    leftHandAvgConfidence: float
    rightHandAvgConfidence: float
    overallAvgConfidence: float
    lowConfidenceFramesPercent: float
    score: float


class Stages(TypedDict):
    """The schema's three stages."""

    stage2_captureQuality: CaptureQuality
    stage10_validationTests: ValidationTests
    stage12_trackingConfidence: TrackingConfidence


class ProblemReport(TypedDict):
    """One thing that is wrong: a stable code, and a sentence."""

    code: str
    message: str


class HandMeasures(TypedDict):
    """One hand; a dropout is a run of frames in which it is not tracked."""

    trackedPercent: float
    highConfidencePercent: float
    dropouts: int
    longestGapFrames: int
    longestGapSeconds: float | None


class Hands(TypedDict):
    """Both hands."""

    left: HandMeasures
    right: HandMeasures


class VideoMeasures(TypedDict):
    """The MP4 beside the data; ``framesAgree`` is None when one of the counts is not known."""

    readable: bool
    codec: str | None
    width: int | None
    height: int | None
    frameCount: int | None
    durationSeconds: float | None
    framesAgree: bool | None


class Extended(TypedDict):
    """Measured beyond the schema. ``flagIntervals`` are ``[start, end, flag]`` in frames, without
    ``end``, in order; when there are more than ``flagIntervalCount`` shown, the longest are.
    """

    deviceId: str
    appVersion: str
    qaProfile: str | None
    durationSeconds: float | None
    framesPerSecond: float | None
    flaggedFrames: int
    flaggedFramesPercent: float
    hands: Hands
    flagIntervalCount: int
    flagIntervals: list[tuple[int, int, str]]
    video: VideoMeasures | None
    problems: list[ProblemReport]


class SessionQA(TypedDict):
    """One session: the schema's fields, and ``extended`` beside them."""

    sessionId: str
    captureDate: str
    status: str
    stages: Stages
    overallQualityScore: float
    extended: Extended
