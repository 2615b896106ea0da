"""The eight arrays of a recording (schema "NPZ File Structure"), read by byte range."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quest_backend.qa.members import AHEAD_BYTES, Inflating, fetch_ahead
from quest_backend.qa.metadata import Metadata, parse_metadata, text_of
from quest_backend.qa.npy import MAX_HEADER_BYTES, ArrayHeader, parse_header
from quest_backend.qa.objects import MAX_PICKLE_BYTES, only_text
from quest_backend.qa.problems import BadRecording, Problem, ProblemCode
from quest_backend.qa.ranges import Held, Reads
from quest_backend.qa.zipfiles import Member, read_directory

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CONFIDENCES = ("left_confidence", "right_confidence")
FLAGS = ("both_hands_not_in_frame", "hand_speed_exceeded", "tracking_errors")
SWITCHES = ("left_tracked", "right_tracked", *FLAGS)
METADATA = "metadata"
ARRAYS = (*CONFIDENCES, *SWITCHES, METADATA)

# 16 hours at 72 frames per second; a headset's battery ends after three.
MAX_FRAMES = 4 * 1024 * 1024
MAX_MEMBER_BYTES = 64 * 1024 * 1024
_NO_METADATA = Metadata()
_MAX_METADATA_BYTES = MAX_PICKLE_BYTES + MAX_HEADER_BYTES
# Measured, of the worst: 43 bytes per frame while runs of flags are counted that change with every
# frame; 64 bytes for "[]," of metadata's JSON.
_BYTES_PER_FRAME = 48
_BYTES_PER_METADATA_BYTE = 32
_PASSING_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recording:
    """A readable recording; every array has shape (frames,).

    Confidences lie in 0..1: what is not a number, or infinite, counts as 0.
    """

    confidence: tuple[FloatArray, FloatArray]
    tracked: tuple[BoolArray, BoolArray]
    both_hands_not_in_frame: BoolArray
    hand_speed_exceeded: BoolArray
    tracking_errors: BoolArray
    metadata: Metadata

    @property
    def frames(self) -> int:
        """How many frames were recorded."""
        return len(self.tracked[0])


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A recording that fails the integrity check, with every reason that was found."""

    problems: tuple[Problem, ...]
    metadata: Metadata = _NO_METADATA


def missing() -> Unreadable:
    """A session that has no data file."""
    return Unreadable((Problem(ProblemCode.MISSING_DATA, "there is no session_data.npz"),))


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    floats: dict[str, FloatArray]
    switches: dict[str, BoolArray]
    metadata: Metadata
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read of a file, by its directory."""

    members: dict[str, Member]
    held: Held
    problems: list[Problem] = field(default_factory=list)

    @property
    def memory_bytes(self) -> int:
        """No more than this is taken by reading the arrays and scoring them."""
        sizes = {name: member.size for name, member in self.members.items()}
        metadata = sizes.pop(METADATA, 0)
        # Half precision is the least that a confidence takes.
        frames = max((size // (2 if name in CONFIDENCES else 1) for name, size in sizes.items()),
                     default=0)  # fmt: skip
        packed = sum(member.packed_size for member in self.members.values())
        return (
            min(frames, MAX_FRAMES) * _BYTES_PER_FRAME
            + max(sizes.values(), default=0)
            + metadata * _BYTES_PER_METADATA_BYTE
            + min(packed, AHEAD_BYTES + _PASSING_BYTES)
        )


def read_recording(
    size: int, max_member_bytes: int = MAX_MEMBER_BYTES
) -> Reads[Recording | Unreadable]:
    """Read what QA needs of an NPZ file of ``size`` bytes. Bad input is a result, not an error.

    A usual recording takes two requests: the zip directory, then the members (together when the
    writer put them side by side). At most a few times ``max_member_bytes`` are held.
    """
    plan = yield from plan_recording(size, max_member_bytes)
    return plan if isinstance(plan, Unreadable) else (yield from read_planned(plan))


def plan_recording(size: int, max_member_bytes: int = MAX_MEMBER_BYTES) -> Reads[Plan | Unreadable]:
    """The first half of ``read_recording``: what the rest will take is known then."""
    plan = Plan({}, Held(size))
    try:
        chosen = _chosen((yield from read_directory(plan.held)), plan.problems)
    except BadRecording as bad:
        return Unreadable((bad.problem,))
    plan.members.update(
        (name, member)
        for name, member in chosen.items()
        if _within(name, member, max_member_bytes, plan.problems)
    )
    return plan


def read_planned(plan: Plan) -> Reads[Recording | Unreadable]:
    """The second half of ``read_recording``."""
    found = _Found({}, {}, Metadata(), plan.problems)
    yield from fetch_ahead(plan.members.values(), plan.held)
    for name in ARRAYS:
        member = plan.members.get(name)
        if member is not None:
            yield from _read_array(name, member, plan.held, found)
    return _assembled(found)


def _chosen(members: Iterable[Member], problems: list[Problem]) -> dict[str, Member]:
    """The members that hold the eight arrays, by array."""
    chosen: dict[str, Member] = {}
    seen: set[bytes] = set()
    for member in members:
        # np.load accepts both names; a file that has both is as ambiguous as one named twice.
        written = member.name.removesuffix(b".npy")
        if written in seen:
            raise BadRecording(ProblemCode.DUPLICATE_MEMBER, "two members have the same name")
        seen.add(written)
        name = written.decode("ascii", "replace")
        if name in ARRAYS:
            chosen[name] = member
    problems.extend(
        Problem(ProblemCode.MISSING_ARRAY, f"the array {name} is missing")
        for name in ARRAYS
        if name not in chosen
    )
    return chosen


def _within(name: str, member: Member, limit: int, problems: list[Problem]) -> bool:
    most = min(limit, _MAX_METADATA_BYTES) if name == METADATA else limit
    if max(member.size, member.packed_size) <= most:
        return True
    problems.append(
        Problem(
            ProblemCode.TOO_LARGE,
            f"the array {name} has {member.size} bytes; at most {most} are read",
        )
    )
    return False


def _read_array(name: str, member: Member, held: Held, found: _Found) -> Reads[None]:
    try:
        inflating = Inflating(member, held)
        yield from inflating.open()
        yield from inflating.upto(MAX_HEADER_BYTES)
        header = parse_header(bytes(inflating.data[:MAX_HEADER_BYTES]), name)
        _check(name, header, member)
        data = yield from inflating.rest()
        _keep(name, header, data, found)
    except BadRecording as bad:
        found.problems.append(bad.problem)


def _check(name: str, header: ArrayHeader, member: Member) -> None:
    """Refuse an array by its header, before the rest of it is inflated."""
    sizes = {"f": (2, 4, 8)} if name in CONFIDENCES else {"b": (1,), "?": (0, 1)}
    if name == METADATA:
        if header.kind not in "SUO":
            raise BadRecording(
                ProblemCode.WRONG_DTYPE, f"{name}: {header.descr} is neither bytes nor text"
            )
        if header.shape not in ((), (1,)):
            raise BadRecording(ProblemCode.WRONG_SHAPE, f"{name}: not one element")
    elif header.item_bytes not in sizes.get(header.kind, ()):
        raise BadRecording(
            ProblemCode.WRONG_DTYPE, f"{name}: {header.descr} is not the type it should have"
        )
    elif len(header.shape) != 1:
        raise BadRecording(ProblemCode.WRONG_SHAPE, f"{name}: not one value per frame")
    elif header.count > MAX_FRAMES:
        raise BadRecording(ProblemCode.TOO_LARGE, f"{name}: more than {MAX_FRAMES} frames")
    item_bytes = header.item_bytes or (1 if header.kind == "?" else 0)
    if header.kind != "O" and header.data_at + header.count * item_bytes != member.size:
        raise BadRecording(ProblemCode.BAD_MEMBER, f"{name}: not as long as its header says")


def _keep(name: str, header: ArrayHeader, data: bytearray, found: _Found) -> None:
    if name in CONFIDENCES:
        found.floats[name] = _confidence(np.frombuffer(data, header.descr, offset=header.data_at))
    elif name in SWITCHES:
        # Any byte but 0 is true; NumPy would trust the file that there are only 0 and 1.
        found.switches[name] = np.frombuffer(data, np.uint8, offset=header.data_at) != 0
    elif header.kind == "O":
        found.metadata = parse_metadata(only_text(bytes(data[header.data_at :])))
    else:
        text = text_of(header.kind, header.descr[0], bytes(data[header.data_at :]))
        found.metadata = parse_metadata(text)


def _confidence(written: "NDArray[np.floating]") -> FloatArray:
    with np.errstate(invalid="ignore"):
        values = written.astype(np.float64)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(values, 0.0, 1.0, out=values)


def _assembled(found: _Found) -> Recording | Unreadable:
    lengths = {len(array) for array in (*found.floats.values(), *found.switches.values())}
    if len(lengths) > 1:
        found.problems.append(
            Problem(ProblemCode.RAGGED_LENGTHS, "the arrays have different numbers of frames")
        )
    if found.problems:
        return Unreadable(tuple(found.problems), found.metadata)
    return Recording(
        confidence=(found.floats["left_confidence"], found.floats["right_confidence"]),
        tracked=(found.switches["left_tracked"], found.switches["right_tracked"]),
        both_hands_not_in_frame=found.switches["both_hands_not_in_frame"],
        hand_speed_exceeded=found.switches["hand_speed_exceeded"],
        tracking_errors=found.switches["tracking_errors"],
        metadata=found.metadata,
    )
