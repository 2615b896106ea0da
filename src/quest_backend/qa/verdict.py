"""Whether a session can be used: PASS, WARN or FAIL by a named profile of thresholds, in words.

A verdict is made of measurements as they are stored; changing thresholds reads no recording again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import TypedDict

from quest_backend.qa.report import SessionQA


class Verdict(StrEnum):
    """From good to bad."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


class VerdictReport(TypedDict):
    """A verdict with the profile that it was made by, and why, worst reasons first."""

    verdict: str
    profile: str
    reasons: list[str]


class ProfileError(ValueError):
    """A profile that makes no sense; the message names the profile and the measure."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a measure starts to warn and to fail; None for never."""

    warn: float | None = None
    fail: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Thresholds by measure; a measure that is not in it is not judged."""

    name: str
    thresholds: Mapping[str, Threshold]


_Value = float | bool | None


@dataclass(frozen=True, slots=True)
class Measure:
    """One number or yes/no that can be judged.

    ``read`` gives None where it is not known; then it is not judged. More is better unless
    ``less_is_better``. ``words`` names it at the start of a reason; of a yes/no it is the reason.
    """

    read: Callable[[SessionQA], _Value]
    words: str
    unit: str = "%"
    less_is_better: bool = False


def _video(name: str) -> Callable[[SessionQA], _Value]:
    def read(session: SessionQA) -> _Value:
        video = session["extended"]["video"]
        if name == "readable":
            return video is not None and video["readable"]
        return video["framesAgree"] if video is not None else None

    return read


MEASURES: dict[str, Measure] = {
    "frameCountCheck": Measure(
        lambda s: s["stages"]["stage10_validationTests"]["frameCountCheck"],
        "the number of frames is not what the metadata says",
    ),
    "timestampConsistency": Measure(
        lambda s: s["stages"]["stage10_validationTests"]["timestampConsistency"],
        "date or frame rate are not plausible",
    ),
    "videoReadable": Measure(_video("readable"), "the video is missing or cannot be read"),
    "videoFramesAgree": Measure(
        _video("framesAgree"), "video and data differ by more than a second of frames"
    ),
    "overallQualityScore": Measure(
        lambda s: s["overallQualityScore"], "the overall score is", unit=" points"
    ),
    "captureQuality": Measure(
        lambda s: s["stages"]["stage2_captureQuality"]["score"],
        "the capture quality is",
        unit=" points",
    ),
    "trackingConfidence": Measure(
        lambda s: s["stages"]["stage12_trackingConfidence"]["score"],
        "the tracking confidence is",
        unit=" points",
    ),
    "flaggedFramesPercent": Measure(
        lambda s: s["extended"]["flaggedFramesPercent"], "flagged frames are", less_is_better=True
    ),
    "lowConfidenceFramesPercent": Measure(
        lambda s: s["stages"]["stage12_trackingConfidence"]["lowConfidenceFramesPercent"],
        "frames with low confidence are",
        less_is_better=True,
    ),
    "leftTrackedPercent": Measure(
        lambda s: s["extended"]["hands"]["left"]["trackedPercent"], "the left hand is tracked in"
    ),
    "rightTrackedPercent": Measure(
        lambda s: s["extended"]["hands"]["right"]["trackedPercent"], "the right hand is tracked in"
    ),
    "leftLongestGapSeconds": Measure(
        lambda s: s["extended"]["hands"]["left"]["longestGapSeconds"],
        "the left hand's longest gap is",
        unit=" s",
        less_is_better=True,
    ),
    "rightLongestGapSeconds": Measure(
        lambda s: s["extended"]["hands"]["right"]["longestGapSeconds"],
        "the right hand's longest gap is",
        unit=" s",
        less_is_better=True,
    ),
    "durationSeconds": Measure(
        lambda s: s["extended"]["durationSeconds"], "the recording lasts", unit=" s"
    ),
}
_CHECKS = {"frameCountCheck", "timestampConsistency", "videoReadable", "videoFramesAgree"}

STANDARD = Profile(
    "standard",
    {
        "frameCountCheck": Threshold(warn=1),
        "timestampConsistency": Threshold(warn=1),
        "videoReadable": Threshold(warn=1),
        "videoFramesAgree": Threshold(warn=1),
        # The schema counts sessions below 80 as having issues.
        "overallQualityScore": Threshold(warn=80, fail=60),
        "captureQuality": Threshold(warn=85, fail=60),
        "trackingConfidence": Threshold(warn=80, fail=60),
        "flaggedFramesPercent": Threshold(warn=15, fail=40),
        "leftTrackedPercent": Threshold(warn=80, fail=50),
        "rightTrackedPercent": Threshold(warn=80, fail=50),
        "leftLongestGapSeconds": Threshold(warn=5, fail=30),
        "rightLongestGapSeconds": Threshold(warn=5, fail=30),
    },
)
STRICT = Profile(
    "strict",
    {
        "frameCountCheck": Threshold(fail=1),
        "timestampConsistency": Threshold(fail=1),
        "videoReadable": Threshold(fail=1),
        "videoFramesAgree": Threshold(fail=1),
        "overallQualityScore": Threshold(warn=95, fail=85),
        "captureQuality": Threshold(warn=95, fail=85),
        "trackingConfidence": Threshold(warn=95, fail=85),
        "flaggedFramesPercent": Threshold(warn=5, fail=15),
        "lowConfidenceFramesPercent": Threshold(warn=5, fail=15),
        "leftTrackedPercent": Threshold(warn=95, fail=85),
        "rightTrackedPercent": Threshold(warn=95, fail=85),
        "leftLongestGapSeconds": Threshold(warn=1, fail=3),
        "rightLongestGapSeconds": Threshold(warn=1, fail=3),
    },
)
BUILT_IN = {profile.name: profile for profile in (STANDARD, STRICT)}


def decide(session: SessionQA, profile: Profile) -> VerdictReport:
    """The verdict on a session. An unreadable recording fails in every profile."""
    if not session["stages"]["stage10_validationTests"]["npzIntegrityCheck"]:
        problems = [each["message"] for each in session["extended"]["problems"]
                    if "VIDEO" not in each["code"]]  # fmt: skip
        reasons = [f"FAIL: {message}" for message in problems] or ["FAIL: it cannot be read"]
        return {"verdict": Verdict.FAIL.value, "profile": profile.name, "reasons": reasons}
    failed: list[str] = []
    warned: list[str] = []
    for name, threshold in profile.thresholds.items():
        measure = MEASURES[name]
        value = measure.read(session)
        if value is None:
            continue
        if _beyond(value, threshold.fail, measure):
            failed.append(f"FAIL: {_reason(name, value, threshold.fail)}")
        elif _beyond(value, threshold.warn, measure):
            warned.append(f"WARN: {_reason(name, value, threshold.warn)}")
    verdict = Verdict.FAIL if failed else Verdict.WARN if warned else Verdict.PASS
    return {"verdict": verdict.value, "profile": profile.name, "reasons": failed + warned}


def _beyond(value: float | bool, limit: float | None, measure: Measure) -> bool:
    if limit is None:
        return False
    return value > limit if measure.less_is_better else value < limit


def _reason(name: str, value: float | bool, limit: float | None) -> str:
    measure = MEASURES[name]
    if name in _CHECKS:
        return measure.words
    side = "at most" if measure.less_is_better else "at least"
    return f"{measure.words} {value:g}{measure.unit}, not {side} {limit:g}{measure.unit}"


def profiles(
    added: Mapping[str, Mapping[str, Mapping[str, float | None]]],
) -> dict[str, Profile]:
    """The built-in profiles and ``added`` ones: measure to ``{"warn": …, "fail": …}`` by profile.

    An added profile starts from the built-in one of its name, else from ``standard``; a measure
    with neither bound is no longer judged.

    Raises:
        ProfileError: an unknown measure or bound, or a warning later than the failure.
    """
    known = dict(BUILT_IN)
    for name, given in added.items():
        thresholds = dict(BUILT_IN.get(name, STANDARD).thresholds)
        for measure, bounds in given.items():
            thresholds[measure] = _threshold(name, measure, bounds)
        known[name] = Profile(name, thresholds)
    return known


def _threshold(profile: str, measure: str, bounds: Mapping[str, float | None]) -> Threshold:
    if measure not in MEASURES:
        raise ProfileError(f"profile {profile}: there is no measure {measure!r}")
    if unknown := set(bounds) - {"warn", "fail"}:
        raise ProfileError(f"profile {profile}: {measure} has no bound {min(unknown)!r}")
    threshold = Threshold(bounds.get("warn"), bounds.get("fail"))
    if threshold.warn is not None and threshold.fail is not None:
        first, last = threshold.warn, threshold.fail
        if MEASURES[measure].less_is_better:
            first, last = last, first
        if first < last:
            raise ProfileError(f"profile {profile}: {measure} fails before it warns")
    return threshold


def choose(known: Mapping[str, Profile], default: str, *wanted: str | None) -> Profile:
    """The first of ``wanted`` that is known (a study's own, a recording's), else ``default``."""
    for name in wanted:
        if name is not None and name in known:
            return known[name]
    return known[default]
