"""Which capture session a recording belongs to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from quest_backend.fleet.sessions import Session

# A headset's clock may be a little off when it says when it recorded.
_MARGIN_S = 120


def session_of(sessions: Sequence[Session], asked: str, named: str, now_s: float) -> str:
    """The id of the session that the client names, that ran at the time, or else the newest.

    Args:
        sessions: those that the headset was in, newest first.
        asked: when it was recorded, ``YYYYMMDD_HHMMSS``.
        named: the client's word, '' for none.
        now_s: Unix seconds.

    Returns:
        '' without any session.
    """
    moment = datetime.strptime(asked, "%Y%m%d_%H%M%S").replace(tzinfo=UTC).timestamp()
    fitting = [session for session in sessions if session.session_id == named] or [
        session for session in sessions if _covers(session, moment, now_s)
    ]
    chosen = [*fitting, *sessions][:1]
    return chosen[0].session_id if chosen else ""


def _covers(session: Session, moment: float, now_s: float) -> bool:
    if not session.started_at:
        return False
    start = datetime.fromisoformat(session.started_at).timestamp()
    end = datetime.fromisoformat(session.ended_at).timestamp() if session.ended_at else now_s
    return start - _MARGIN_S <= moment <= end + _MARGIN_S
