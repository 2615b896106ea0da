"""What uploads are given and give back."""

from collections.abc import Callable
from dataclasses import dataclass

from quest_backend.storage.records import UploadRecord


@dataclass(frozen=True, slots=True)
class Owner:
    """Who uploads. ``may_all``: operators and admins may finish anybody's uploads."""

    device_id: str
    may_all: bool = False


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """Bounds of uploads."""

    chunk_bytes: int
    max_parts: int
    url_expiry_s: int
    expiry_s: float


@dataclass(frozen=True, slots=True)
class Started:
    """A begun (or resumed) upload; ``url_of(number)`` takes part ``number``, from 1."""

    record: UploadRecord
    url_of: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished recording file."""

    record: UploadRecord
    bucket: str
