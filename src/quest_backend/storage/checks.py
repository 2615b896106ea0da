"""Whether the parts that a client names are the file: decided without asking anybody."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quest_backend.protocol.recordings import PartPlan
from quest_backend.storage.s3 import Part

_SHOWN = 20


class Algorithm(StrEnum):
    """Checksums that S3 knows and clients may send. Values are base64, as in S3's headers."""

    CRC64NVME = "CRC64NVME"
    SHA256 = "SHA256"


_BYTES = {Algorithm.CRC64NVME: 8, Algorithm.SHA256: 32}


@dataclass(frozen=True, slots=True)
class Checksum:
    """One checksum, base64."""

    algorithm: Algorithm
    value: str

    def __post_init__(self) -> None:
        try:
            raw = base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("a checksum is base64") from None
        if len(raw) != _BYTES[self.algorithm]:
            raise ValueError(f"a {self.algorithm} checksum has {_BYTES[self.algorithm]} bytes")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True, slots=True)
class GivenPart:
    """A part as the client names it. ``etag`` with or without quotes."""

    number: int
    etag: str
    checksum: Checksum | None = None


class PartsWrong(Exception):  # noqa: N818 - an answer
    """These parts are not the file. ``more``: which ones, for the client to send again."""

    def __init__(self, message: str, **more: list[int]) -> None:
        super().__init__(message)
        self.more = more


def store_sums(given: Sequence[GivenPart], whole: Checksum | None) -> tuple[dict[int, str], str]:
    """The CRC64NVMEs that a client names, of parts by number and of the file: stores compare those
    themselves. SHA-256 of parts cannot be added up to that of the file."""
    parts = {
        part.number: part.checksum.value
        for part in given
        if part.checksum is not None and part.checksum.algorithm is Algorithm.CRC64NVME
    }
    return parts, whole.value if whole and whole.algorithm is Algorithm.CRC64NVME else ""


def newest(stored: Sequence[Part]) -> list[Part]:
    """One part per number: the last version of those sent again."""
    return list({part.number: part for part in sorted(stored, key=_age)}.values())


def _age(part: Part) -> tuple[int, float]:
    return part.number, part.stored_at


def check_parts(plan: PartPlan, stored: Sequence[Part], given: Sequence[GivenPart]) -> list[Part]:
    """The parts to make the object of, in order.

    Each part of the plan has to be named once (or twice the same), be in the store, have the named
    ETag and the planned size.

    Raises:
        PartsWrong: says which are missing or wrong.
    """
    named: dict[int, GivenPart] = {}
    twice = []
    for part in given:
        before = named.setdefault(part.number, part)
        if before.etag.strip('"') != part.etag.strip('"'):
            twice.append(part.number)
    if twice:
        raise PartsWrong(
            f"parts: {_list(twice)} named twice with different ETags", wrongParts=twice
        )
    beyond = sorted(number for number in named if not 1 <= number <= plan.parts)
    if beyond:
        raise PartsWrong(
            f"parts: this upload has parts 1 to {plan.parts}, not {_list(beyond)}",
            wrongParts=beyond,
        )
    there = {part.number: part for part in newest(stored)}
    # Of a part that was sent again, the version that the client names.
    for version in stored:
        if version.number in named and named[version.number].etag.strip('"') == version.etag:
            there[version.number] = version
    wanted = range(1, plan.parts + 1)
    missing = [number for number in wanted if number not in named or number not in there]
    if missing:
        raise PartsWrong(f"parts: {_list(missing)} missing", missingParts=missing)
    wrong = [number for number in wanted if not _is_right(plan, there[number], named[number])]
    if wrong:
        first = wrong[0]
        raise PartsWrong(
            f"parts: {_list(wrong)} wrong: {_why(plan, there[first], named[first])}",
            wrongParts=wrong,
        )
    return [there[number] for number in wanted]


def _is_right(plan: PartPlan, part: Part, named: GivenPart) -> bool:
    same = named.etag.strip('"') == part.etag
    return same and part.size == plan.size_of(part.number) and _same_sum(part, named)


def _same_sum(part: Part, named: GivenPart) -> bool:
    if named.checksum is None:
        return True
    theirs = part.checksum(named.checksum.algorithm)
    return not theirs or theirs == named.checksum.value


def _why(plan: PartPlan, part: Part, named: GivenPart) -> str:
    if named.etag.strip('"') != part.etag:
        return f"the store has ETag {part.etag} for part {part.number}"
    if part.size != plan.size_of(part.number):
        return f"part {part.number} has {part.size} bytes, not {plan.size_of(part.number)}"
    return f"part {part.number} has another checksum"


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"part{'s' if len(numbers) > 1 else ''} {shown}{more}"
