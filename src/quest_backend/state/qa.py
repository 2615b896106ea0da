"""What was measured of recordings, in Valkey: by version of the files, with running sums."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import orjson
import structlog

from quest_backend.clock import Clock
from quest_backend.qa.aggregates import Totals, share_of
from quest_backend.qa.judge import Judge, wanted_profiles
from quest_backend.qa.report import SessionQA
from quest_backend.state import keys
from quest_backend.state.valkey import StoreUnavailable, Valkey

log = structlog.get_logger()

# Counts changes of what is measured: results of another version are measured anew.
_MEASURES_VERSION = 1
_AT_ONCE = 500
# Reading and judging so many takes a thread a few milliseconds.
_JUDGED_AT_ONCE = 50
_EXTENDED = "extended"
# The sessions themselves are forgotten after a week; this much of each is kept with its recordings.
_MOST_TEXT = 200
_MOST_TAKES = 1_000_000
_AWAY_S = 5.0


class Put(StrEnum):
    """What became of a result."""

    KEPT = "kept"
    SAME = "same"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Take:
    """What an operator wrote down of a recording; '' and 0 for nothing."""

    participant: str = ""
    study: str = ""
    task: str = ""
    number: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Take":
        """From a capture session's metadata, in which clients write what they like."""

        def text(name: str) -> str:
            value = metadata.get(name)
            return value.strip()[:_MOST_TEXT] if isinstance(value, str) else ""

        number = metadata.get("take")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < _MOST_TAKES:
            number = 0
        return cls(text("participant"), text("study"), text("task"), number)


@dataclass(frozen=True, slots=True)
class Origin:
    """Which capture session a recording was made in, and who is to hear of it; '' for not known.

    ``wanted`` are names of profiles that its session asks for.
    """

    capture_session: str = ""
    device_id: str = ""
    tablet: str = ""
    wanted: tuple[str, ...] = ()
    take: Take = Take()

    def written(self) -> str:
        """As Valkey keeps it; '' when nothing is known."""
        return orjson.dumps(self).decode() if self != Origin() else ""

    @classmethod
    def read(cls, text: str) -> "Origin":
        """What ``written`` wrote."""
        if not text:
            return cls()
        found = orjson.loads(text)
        take = Take(**found.get("take", {}))
        return cls(**{**found, "wanted": tuple(found["wanted"]), "take": take})


@dataclass(frozen=True, slots=True)
class Review:
    """A person's decision. ``stale``: the files have changed since."""

    decision: str
    reason: str
    by: str
    at: str
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A result with what is known beside it."""

    session: SessionQA
    fingerprint: str
    origin: Origin
    review: Review | None


@dataclass(frozen=True, slots=True)
class Page:
    """Results in order of their session ids; ``after`` is where the next page starts, or None."""

    kept: tuple[Kept, ...]
    after: str | None

    @property
    def sessions(self) -> tuple[SessionQA, ...]:
        """The results alone."""
        return tuple(each.session for each in self.kept)


def fingerprint(data_etag: str | None, video_etag: str | None) -> str:
    """The version of a session's files, and of how they are measured."""
    return f"{_MEASURES_VERSION}:{data_etag or ''}:{video_etag or ''}"


def _hundredths(score: float) -> str:
    """A score in five digits, so that scores are in order as text."""
    return f"{round(score * 100):05}"


class QaStore:
    """The results' truth. Every change is one script, so sums and lists always fit the results.

    Results are measurements. Verdicts are made of them: the lists have those of ``judge``, which
    ``judge_again`` brings up to date after its rules have changed.
    """

    def __init__(self, valkey: Valkey, clock: Clock, judge: Judge) -> None:
        self._valkey = valkey
        self._clock = clock
        self.judge = judge

    async def put(self, session: SessionQA, version: str, modified_ms: int) -> Put:
        """Keep a result; at once, and once, however often the same job is done.

        What is new is told in the stream ``qa_news``.

        Args:
            session: what was measured.
            version: the ``fingerprint`` of what was read.
            modified_ms: when the newer of the two files was written (Unix ms). A result of older
                files than those of the kept one is dropped.

        Raises:
            StoreUnavailable: Valkey is away; put it again.
        """
        origin = await self._origin(session["sessionId"])
        measured: dict[str, Any] = dict(session)
        answer = await self._valkey.script(
            "qa_put",
            session=session["sessionId"],
            fingerprint=version,
            modified=modified_ms,
            # Lua's own number to text would lose digits.
            modified_text=str(modified_ms),
            extended=orjson.dumps(measured.pop(_EXTENDED)).decode(),
            result=orjson.dumps(measured).decode(),
            score=_hundredths(session["overallQualityScore"]),
            verdict=self.judge.decide(session, origin.wanted)["verdict"],
            origin=origin.written(),
            share=asdict(share_of(session)),
            now=self._clock.iso(),
        )
        return Put(answer)

    async def _origin(self, session_id: str) -> Origin:
        """From its upload, which is known for some days, or as it was known before."""
        known, capture, device_id, tablet, metadata = await self._valkey.script(
            "qa_origin", session=session_id
        )
        if not device_id:
            return Origin.read(known)
        told = orjson.loads(metadata or b"{}")
        if not isinstance(told, dict):
            return Origin(capture, device_id, tablet)
        return Origin(capture, device_id, tablet, tuple(wanted_profiles(told)), Take.of(told))

    async def remove(self, session_id: str) -> bool:
        """Forget a session; whether it was there. Its review stays, should the files come back.

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
        found = await self.read([session_id])
        return found[0].session if found else None

    async def read(self, session_ids: Sequence[str]) -> list[Kept]:
        """These results, without those that are not there.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        rows = await self._valkey.script("qa_read", ids=list(session_ids))
        return [kept for row in rows if (kept := _kept(row)) is not None]

    async def review(
        self, session_id: str, decision: str | None, reason: str, by: str
    ) -> Review | None:
        """Keep a decision on the files as they are now, or clear it; None if cleared.

        Raises:
            LookupError: no such recording.
            StoreUnavailable: Valkey is away.
        """
        at = self._clock.iso()
        found = await self._valkey.script(
            "qa_review", session=session_id, decision=decision, reason=reason, by=by, at=at
        )
        if not found:
            raise LookupError(session_id)
        return Review(decision, reason, by, at) if decision else None

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
        rows = await self._valkey.script("qa_read", after=_after(after), limit=limit)
        kept = [each for row in rows if (each := _kept(row)) is not None]
        return Page(tuple(kept), rows[-1][0] if len(rows) == limit else None)

    async def stream(self, at_once: int = _AT_ONCE) -> AsyncIterator[list[str]]:
        """The schema's part of every result, as JSON, ``at_once`` at a time, in order of their ids.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        after = ""
        while True:
            last, *texts = await self._valkey.script(
                "qa_stream", after=_after(after), limit=at_once
            )
            if texts:
                yield texts
            if not last:
                return
            after = last

    async def judge_again(self) -> int:
        """Bring the lists up to date with the judge's rules; how many results were judged.

        Reads what is kept here, and no recording.

        Raises:
            StoreUnavailable: Valkey is away; start again.
        """
        client = self._valkey.client
        if await self._valkey.call(client.get(keys.QA_RULES)) == self.judge.rules:
            return 0
        judged, after = 0, ""
        while True:
            rows = await self._valkey.script("qa_read", after=_after(after), limit=_JUDGED_AT_ONCE)
            for kept, verdict in await asyncio.to_thread(self._verdicts, rows):
                judged += await self._valkey.script(
                    "qa_judge",
                    session=kept.session["sessionId"],
                    fingerprint=kept.fingerprint,
                    verdict=verdict,
                )
            if len(rows) < _JUDGED_AT_ONCE:
                break
            after = rows[-1][0]
        await self._valkey.call(client.set(keys.QA_RULES, self.judge.rules))
        return judged

    async def keep_judging(self) -> None:
        """``judge_again``, until Valkey lets it be done."""
        while True:
            try:
                judged = await self.judge_again()
            except StoreUnavailable as error:
                log.warning("qa_judging_put_off", reason=str(error))
                await asyncio.sleep(_AWAY_S)
            else:
                if judged:
                    log.info("qa_judged_again", sessions=judged, rules=self.judge.rules)
                return

    def _verdicts(self, rows: list[Any]) -> list[tuple[Kept, str]]:
        found = [kept for row in rows if (kept := _kept(row)) is not None]
        return [(kept, self.judge.decide(kept.session, kept.origin.wanted)["verdict"])
                for kept in found]  # fmt: skip


def _after(session_id: str) -> str:
    return f"({session_id}" if session_id else "-"


def _kept(row: list[Any]) -> Kept | None:
    _, (result, extended, version, origin), (decision, reason, by, at, files) = row
    if not result:
        return None
    session: SessionQA = orjson.loads(result)
    session["extended"] = orjson.loads(extended)
    review = None
    if decision:
        review = Review(decision, reason, by, at, stale=files != version.partition(":")[2])
    return Kept(session, version, Origin.read(origin), review)
