"""What was measured of recordings, in Valkey: by version of the files, with running sums."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

import orjson

from quest_backend.clock import Clock
from quest_backend.qa.aggregates import Totals, share_of
from quest_backend.qa.report import SessionQA
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey

# Counts changes of what is measured: results of another version are measured anew.
_MEASURES_VERSION = 1
_AT_ONCE = 500


class Put(StrEnum):
    """What became of a result."""

    KEPT = "kept"
    SAME = "same"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Page:
    """Results in order of their session ids; ``after`` is where the next page starts, or None."""

    sessions: tuple[SessionQA, ...]
    after: str | None


def fingerprint(data_etag: str | None, video_etag: str | None) -> str:
    """The version of a session's files, and of how they are measured."""
    return f"{_MEASURES_VERSION}:{data_etag or ''}:{video_etag or ''}"


class QaStore:
    """The results' truth. Every change is one script, so the sums always fit the results."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock

    async def put(self, session: SessionQA, version: str, modified_ms: int) -> Put:
        """Keep a result; at once, and once, however often the same job is done.

        Args:
            session: what was measured.
            version: the ``fingerprint`` of what was read.
            modified_ms: when the newer of the two files was written (Unix ms). A result of older
                files than those of the kept one is dropped.

        Raises:
            StoreUnavailable: Valkey is away; put it again.
        """
        answer = await self._valkey.script(
            "qa_put",
            session=session["sessionId"],
            fingerprint=version,
            modified=modified_ms,
            # Lua's own number to text would lose digits.
            modified_text=str(modified_ms),
            result=orjson.dumps(session).decode(),
            share=asdict(share_of(session)),
            now=self._clock.iso(),
        )
        return Put(answer)

    async def remove(self, session_id: str) -> bool:
        """Forget a session; whether it was there.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        return bool(
            await self._valkey.script("qa_remove", session=session_id, now=self._clock.iso())
        )

    async def get(self, session_id: str) -> SessionQA | None:
        """One result, or None.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        text = await self._valkey.call(
            self._valkey.client.hget(keys.qa_session(session_id), "result")
        )
        found: SessionQA | None = orjson.loads(text) if text else None
        return found

    async def fingerprints(self, session_ids: Sequence[str]) -> dict[str, str]:
        """Which versions were measured, of those sessions that were: a refresh reads the others.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        known: dict[str, str] = {}
        for start in range(0, len(session_ids), _AT_ONCE):
            part = session_ids[start : start + _AT_ONCE]
            pipe = self._valkey.client.pipeline(transaction=False)
            for session_id in part:
                pipe.hget(keys.qa_session(session_id), "fingerprint")
            answers = await self._valkey.call(pipe.execute())
            known.update({one: text for one, text in zip(part, answers, strict=True) if text})
        return known

    async def totals(self) -> tuple[Totals, str]:
        """The running sums, and when they last changed (ISO 8601; empty for never). O(1).

        Raises:
            StoreUnavailable: Valkey is away.
        """
        found = await self._valkey.call(self._valkey.client.hgetall(keys.QA_TOTALS))
        sums = {each.name: int(found.get(each.name, 0)) for each in fields(Totals)}
        return Totals(**sums), found.get("updated", "")

    async def page(self, after: str = "", limit: int = 100) -> Page:
        """At most ``limit`` (1 to 500) results whose session ids come after ``after``.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        limit = max(1, min(limit, _AT_ONCE))
        client = self._valkey.client
        start = f"({after}" if after else "-"
        ids = await self._valkey.call(
            client.zrangebylex(keys.QA_SESSIONS, start, "+", start=0, num=limit)
        )
        if not ids:
            return Page((), None)
        pipe = client.pipeline(transaction=False)
        for session_id in ids:
            pipe.hget(keys.qa_session(session_id), "result")
        texts = await self._valkey.call(pipe.execute())
        found = tuple(orjson.loads(text) for text in texts if text)
        return Page(found, ids[-1] if len(ids) == limit else None)
