"""Scoring recordings on the local disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quest_backend.qa.metadata import is_session_id
from quest_backend.qa.problems import Problem
from quest_backend.qa.ranges import Fetch, read
from quest_backend.qa.recording import (
    MAX_MEMBER_BYTES,
    Recording,
    Unreadable,
    missing,
    read_recording,
)
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session
from quest_backend.qa.timeline import Timeline, timeline
from quest_backend.qa.video import Video, read_video

DATA_NAME, VIDEO_NAME = "session_data.npz", "recording.mp4"


class NoRecordings(Exception):  # noqa: N818 - an answer for the user
    """There is nothing to score at a path; the message says why."""


@dataclass(frozen=True, slots=True)
class LocalSession:
    """Where the two files of a session are; one of them may be missing."""

    session_id: str
    data: Path
    video: Path | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A session's measurements; no timeline when the recording cannot be read."""

    session: SessionQA
    timeline: Timeline | None


def find_sessions(path: Path) -> list[LocalSession]:
    """The sessions at ``path``: an ``.npz`` file, a session's folder, or a folder of those.

    Raises:
        NoRecordings: there are none.
    """
    if path.is_file():
        return [_session_of(path)]
    if not path.is_dir():
        raise NoRecordings(f"{path}: no such file or folder")
    if _is_session(path):
        return [_session_of(path / DATA_NAME)]
    found = [_session_of(folder / DATA_NAME) for folder in sorted(path.iterdir())
             if folder.is_dir() and _is_session(folder)]  # fmt: skip
    if not found:
        raise NoRecordings(f"{path}: neither {DATA_NAME} nor folders that hold one")
    return found


def _is_session(folder: Path) -> bool:
    return (folder / DATA_NAME).is_file() or (folder / VIDEO_NAME).is_file()


def _session_of(data: Path) -> LocalSession:
    folder = data.absolute().parent.name
    session_id = folder if is_session_id(folder) or data.name == DATA_NAME else data.stem
    beside = (data.with_name(VIDEO_NAME), data.with_suffix(".mp4"))
    video = next((each for each in beside if each.is_file()), None)
    return LocalSession(session_id, data, video)


def score_local(
    session: LocalSession, max_points: int, max_member_bytes: int = MAX_MEMBER_BYTES
) -> Scored:
    """Score one session; what is wrong with it is in the result.

    Raises:
        OSError: the disk cannot be read.
    """
    recording = _read_data(session.data, max_member_bytes)
    video = _read_video(session.video) if session.video is not None else None
    scored = score_session(session.session_id, recording, video)
    lanes = timeline(recording, max_points) if isinstance(recording, Recording) else None
    return Scored(scored, lanes)


def _read_data(path: Path, max_member_bytes: int) -> Recording | Unreadable:
    if not path.is_file():
        return missing()
    with opened(path) as (size, fetch):
        return read(read_recording(size, max_member_bytes), fetch)


def _read_video(path: Path) -> Video | Problem:
    with opened(path) as (size, fetch):
        return read(read_video(size), fetch)


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, Fetch]]:
    """Size in bytes and range reads of a local file."""
    with path.open("rb", buffering=0) as file:
        yield (
            os.fstat(file.fileno()).st_size,
            lambda span: os.pread(file.fileno(), span.length, span.start),
        )
