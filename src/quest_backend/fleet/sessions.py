"""Capture sessions: which state follows from which, as rows of a table."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from quest_backend.protocol.payloads import SessionState


class Action(StrEnum):
    """What can be done with a session."""

    START = "start"
    PAUSE = "pause"
    END = "end"
    UPLOAD = "upload"
    UPLOADED = "finish uploading"


@dataclass(frozen=True, slots=True)
class Session:
    """One capture session. Times are ISO 8601 UTC text; ``revision`` guards each save."""

    session_id: str
    tablet_id: str
    tablet_identity: str
    device_ids: tuple[str, ...]
    status: SessionState
    created_at: str
    started_at: str = ""
    ended_at: str = ""
    discarded_at: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    locks_taken: tuple[str, ...] = ()
    revision: int = 0


class SessionRefused(Exception):  # noqa: N818 - an answer, not a fault
    """The session cannot do that; the message is for the tablet."""

    def __init__(self, reason: str, session_id: str = "") -> None:
        super().__init__(reason)
        self.session_id = session_id


# Starting what records and pausing what pauses is success again: a reply may have been lost.
TRANSITIONS: dict[tuple[SessionState, Action], SessionState] = {
    ("pending", Action.START): "recording",
    ("paused", Action.START): "recording",
    ("recording", Action.START): "recording",
    ("recording", Action.PAUSE): "paused",
    ("paused", Action.PAUSE): "paused",
    ("pending", Action.END): "completed",
    ("recording", Action.END): "completed",
    ("paused", Action.END): "completed",
    ("completed", Action.UPLOAD): "uploading",
    ("uploading", Action.UPLOAD): "uploading",
    ("uploading", Action.UPLOADED): "completed",
}


def advance(session: Session, action: Action, now: str) -> Session:
    """The session after ``action`` at ``now``. ``startedAt`` is the first start.

    Raises:
        SessionRefused: no such transition; the message tells the session's story.
    """
    status = TRANSITIONS.get((session.status, action))
    if status is None:
        raise SessionRefused(
            f"Session is {session.status}: cannot {action} ({story(session)})", session.session_id
        )
    after = replace(session, status=status)
    if action is Action.START and not session.started_at:
        after = replace(after, started_at=now)
    if action is Action.END:
        after = replace(after, ended_at=now)
    return after


def story(session: Session) -> str:
    """What has happened to the session so far, in a line."""
    steps = [f"created {session.created_at}"]
    if session.started_at:
        steps.append(f"started {session.started_at}")
    if session.ended_at:
        steps.append(f"ended {session.ended_at}")
    return ", ".join(steps)


def duration_s(session: Session) -> int:
    """Whole seconds from the first start to the end; 0 when it never started."""
    if not session.started_at or not session.ended_at:
        return 0
    span = datetime.fromisoformat(session.ended_at) - datetime.fromisoformat(session.started_at)
    return max(0, int(span.total_seconds()))


def is_open(session: Session) -> bool:
    """Whether it still holds its devices."""
    return session.status in ("pending", "recording", "paused")
