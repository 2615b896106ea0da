"""The queue of QA jobs, as those see it who ask for work. Its keys: docs/state.md."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from taskiq import TaskiqMessage

from quest_backend.clock import Clock
from quest_backend.jobs import messages
from quest_backend.jobs.bucket import StoredRecording
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey

GROUP = "qa"
# Older ones are forgotten; a refresh finds what was not scored.
_MOST_DEAD = 10_000
# A refresh that has not moved for so long was lost with its queue.
_STALLED_MS = 30 * 60 * 1000
_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class Refreshing:
    """A refresh under way: recordings scored, of those found to be new so far."""

    read: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Jobs of all nodes. ``done`` counts since ever, ``failed`` are the dead ones."""

    queued: int
    running: int
    done: int
    failed: int
    refreshing: Refreshing | None


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was tried as often as it may be. ``session_id`` is empty for a refresh.

    ``at`` is ISO 8601.
    """

    id: str
    session_id: str
    error: str
    attempts: int
    at: str


class QaQueue:
    """Puts jobs into the queue and tells how they are."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock

    async def submit(self, session_id: str) -> bool:
        """Score a recording soon; whether it did not wait already.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        return await self._put([messages.score_message(None, session_id)]) > 0

    async def submit_found(self, found: Sequence[StoredRecording]) -> None:
        """Score recordings that a refresh has found, as part of it.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        jobs = [messages.score_message(each, each.session_id) for each in found]
        await self._put(jobs, refresh=True)

    async def go_on(self, refresh_id: str, after: str) -> None:
        """The rest of a refresh, behind what is in the queue now.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        await self._put([messages.refresh_message(refresh_id, after)])

    async def _put(self, jobs: Sequence[TaskiqMessage], *, refresh: bool = False) -> int:
        rows = [[messages.name_of(job), job.model_dump_json()] for job in jobs]
        if not rows:
            return 0
        return int(await self._valkey.script("qa_enqueue", jobs=rows, refresh=refresh or None))

    async def request_refresh(self) -> bool:
        """Score everything in the bucket that is new; False when a refresh is under way.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        refresh_id = secrets.token_hex(4)
        message = messages.refresh_message(refresh_id, "")
        now = self._clock.unix_ms()
        return bool(
            await self._valkey.script(
                "qa_refresh_begin",
                id=refresh_id,
                name=messages.name_of(message),
                message=message.model_dump_json(),
                now=now,
                now_text=str(now),
                stalled_ms=_STALLED_MS,
            )
        )

    async def note_refresh(
        self, refresh_id: str, listed: int, state: Literal["listing", "listed", "failed"]
    ) -> bool:
        """A refresh has listed so many more; whether it is still the one of the bucket.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        return bool(
            await self._valkey.script(
                "qa_refresh_note",
                id=refresh_id,
                listed=listed,
                state=state,
                now=str(self._clock.unix_ms()),
            )
        )

    async def progress(self) -> Progress:
        """How far the jobs of all nodes are.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        answer = await self._valkey.script("qa_progress", group=GROUP)
        state = answer.pop(5)
        entries, running, later, done, dead, _, total, left = map(int, answer)
        busy = state == "listing" or left > 0
        return Progress(
            queued=max(0, entries - running) + later,
            running=running,
            done=done,
            failed=dead,
            refreshing=Refreshing(total - left, total) if busy else None,
        )

    async def dead(self, limit: int = 100) -> list[DeadJob]:
        """Dead jobs, the newest first.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        client = self._valkey.client
        names = await self._valkey.call(client.zrevrange(keys.QA_DEAD_ORDER, 0, limit - 1))
        if not names:
            return []
        texts = await self._valkey.call(client.hmget(keys.QA_DEAD, names))
        rows = [(name, orjson.loads(text)) for name, text in zip(names, texts, strict=True) if text]
        return [
            DeadJob(name, row["sessionId"], row["error"], row["attempts"], row["at"])
            for name, row in rows
        ]

    async def retry(self, job_id: str) -> bool:
        """Try a dead job again from the start; whether there is one of that id.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        return bool(await self._valkey.script("qa_retry", name=job_id))

    async def began(self, message: TaskiqMessage) -> None:
        """A job is being done: the same work may be asked for again from now on."""
        await self._valkey.call(
            self._valkey.client.srem(keys.QA_WAITING, messages.name_of(message))
        )

    async def done(self, message: TaskiqMessage) -> None:
        """A job is done. Refreshes are not counted."""
        await self._finish(message, counts=message.task_name == messages.SCORE or None)

    async def put_off(self, message: TaskiqMessage, due_ms: int) -> None:
        """A recording is not there as a whole: look again at ``due_ms`` (Unix ms), anew."""
        session_id = str(message.kwargs["session_id"])
        await self.later(messages.score_message(None, session_id), due_ms)
        await self._finish(message)

    async def died(self, message: TaskiqMessage, attempts: int, error: str) -> None:
        """A job was tried as often as it may be."""
        entry = {
            "sessionId": str(message.kwargs.get("session_id", "")),
            "error": error[:_ERROR_CHARS],
            "attempts": attempts,
            "at": self._clock.iso(),
            "message": messages.again(message, 0).model_dump_json(),
        }
        await self._finish(message, dead=orjson.dumps(entry).decode(), most_dead=_MOST_DEAD)
        if message.task_name == messages.REFRESH:
            await self.note_refresh(str(message.kwargs["refresh_id"]), 0, "failed")

    async def _finish(self, message: TaskiqMessage, **how: object) -> None:
        name, now = messages.name_of(message), str(self._clock.unix_ms())
        await self._valkey.script("qa_finish", name=name, now=now, **how)

    async def later(self, message: TaskiqMessage, due_ms: int) -> None:
        """Do a job at ``due_ms`` (Unix ms)."""
        await self._valkey.call(
            self._valkey.client.zadd(keys.QA_LATER, {message.model_dump_json(): due_ms})
        )

    async def move_due(self) -> int:
        """Put jobs into the queue whose time has come; how many."""
        return int(await self._valkey.script("qa_due", now=str(self._clock.unix_ms())))
