"""What can be wrong with a recording, as stable codes with a sentence each."""

from dataclasses import dataclass
from enum import StrEnum


class ProblemCode(StrEnum):
    """Codes of problems. Clients may rely on them; the sentences may change."""

    MISSING_DATA = "MISSING_DATA"
    MISSING_VIDEO = "MISSING_VIDEO"
    NOT_A_ZIP = "NOT_A_ZIP"
    TRUNCATED = "TRUNCATED"
    BAD_DIRECTORY = "BAD_DIRECTORY"
    TOO_MANY_MEMBERS = "TOO_MANY_MEMBERS"
    UNSAFE_NAME = "UNSAFE_NAME"
    DUPLICATE_MEMBER = "DUPLICATE_MEMBER"
    MISSING_ARRAY = "MISSING_ARRAY"
    TOO_LARGE = "TOO_LARGE"
    BAD_MEMBER = "BAD_MEMBER"
    BAD_CHECKSUM = "BAD_CHECKSUM"
    BAD_ARRAY_HEADER = "BAD_ARRAY_HEADER"
    WRONG_DTYPE = "WRONG_DTYPE"
    WRONG_SHAPE = "WRONG_SHAPE"
    RAGGED_LENGTHS = "RAGGED_LENGTHS"
    REFUSED_OBJECT = "REFUSED_OBJECT"
    BAD_METADATA = "BAD_METADATA"
    NO_FRAMES = "NO_FRAMES"
    FRAME_COUNT = "FRAME_COUNT"
    CAPTURE_DATE = "CAPTURE_DATE"
    FRAME_RATE = "FRAME_RATE"
    VIDEO_UNREADABLE = "VIDEO_UNREADABLE"
    VIDEO_DISAGREES = "VIDEO_DISAGREES"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in words for people."""

    code: ProblemCode
    message: str


class BadRecording(Exception):  # noqa: N818 - the input is bad, not the program
    """Raised while reading; ends the reading of that file or array only."""

    def __init__(self, code: ProblemCode, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(code, message)
