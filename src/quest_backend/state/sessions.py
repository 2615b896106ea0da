"""Capture sessions in Valkey."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from quest_backend.clock import Clock
from quest_backend.fleet.devices import Device
from quest_backend.fleet.sessions import Session, is_open
from quest_backend.protocol.payloads import DeviceSessionStatus, SessionState, UploadState
from quest_backend.state import keys
from quest_backend.state.fleet import device_of
from quest_backend.state.valkey import Valkey
from quest_backend.state.versions import check, is_newer


def session_of(fields: dict[str, str]) -> Session:
    """A session from its hash."""
    status = fields["status"]
    if status not in get_args(SessionState):
        raise ValueError(f"session {fields['sessionId']} has unknown status {status!r}")
    return Session(
        session_id=fields["sessionId"],
        tablet_id=fields["tabletId"],
        tablet_identity=fields.get("tabletIdentity", ""),
        device_ids=tuple(orjson.loads(fields["deviceIds"])),
        status=status,  # type: ignore[arg-type]  # checked above
        created_at=fields["createdAt"],
        started_at=fields.get("startedAt", ""),
        ended_at=fields.get("endedAt", ""),
        discarded_at=fields.get("discardedAt", ""),
        metadata=orjson.loads(fields.get("metadata") or "{}"),
        locks_taken=tuple(orjson.loads(fields.get("locksTaken") or "[]")),
        revision=int(fields.get("rev", 0)),
    )


@dataclass(frozen=True, slots=True)
class Saved:
    """A session's commit: its devices that changed, and those of them that have to be told."""

    devices: tuple[Device, ...]
    told: tuple[Device, ...]


class SessionStore:
    """The sessions' truth."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock

    async def create(
        self, session_id: str, identity: str, device_ids: Sequence[str], metadata: dict[str, Any]
    ) -> tuple[list[str], list[Device]]:
        """Lock what is free and make a session of it.

        Outcome per device (free, mine: taken; held, offline, busy: not), and the session's
        devices as committed, none when nothing was free and so nothing was made.
        """
        outcomes, rows = await self._valkey.script(
            "create_session",
            session=session_id,
            identity=identity,
            ids=list(device_ids),
            metadata=orjson.dumps(metadata).decode(),
            now=self._clock.iso(),
            now_ms=self._clock.unix_ms(),
        )
        return outcomes, [device_of(row) for row in rows]

    async def load(self, session_id: str) -> Session | None:
        """The session, or None.

        Raises:
            NewerRecord: of a later version.
        """
        fields = await self._valkey.call(self._valkey.client.hgetall(keys.session(session_id)))
        if fields:
            check("session", fields)
        return session_of(fields) if fields else None

    async def save(self, before: Session, after: Session, command: str = "") -> Saved | None:
        """Commit ``after`` if Valkey still has ``before``; else None.

        Args:
            before: the session as it was read.
            after: as it is to be.
            command: what its devices are told with it, '' for nothing. A start takes those in again
                that were missed for longer than their grace, and are free.
        """
        answer = await self._valkey.script(
            "save_session",
            session=after.session_id,
            identity=after.tablet_identity,
            expected=before.revision,
            status=after.status,
            started_at=after.started_at,
            ended_at=after.ended_at,
            ids=list(after.device_ids),
            close=is_open(before) and not is_open(after),
            command=command,
            now=self._clock.iso(),
        )
        if not answer:
            return None
        _, rows, told = answer
        devices = tuple(device_of(row) for row in rows)
        return Saved(devices, tuple(d for d in devices if d.device_id in told))

    async def discard(self, session_id: str) -> str:
        """Mark a session as not to be used; when it was first marked."""
        client, key = self._valkey.client, keys.session(session_id)
        await self._valkey.call(client.hsetnx(key, "discardedAt", self._clock.iso()))
        return str(await self._valkey.call(client.hget(key, "discardedAt")))

    async def of_tablet(self, identity: str) -> list[Session]:
        """The tablet's sessions that are not completed, newest first.

        Raises:
            NewerRecord: one is of a later version.
        """
        ids = await self._valkey.call(self._valkey.client.smembers(keys.tablet_sessions(identity)))
        loaded = [await self.load(session_id) for session_id in ids]
        sessions = [session for session in loaded if session is not None and is_open(session)]
        return sorted(sessions, key=lambda s: (s.created_at, s.session_id), reverse=True)

    async def all(self) -> list[Session]:
        """Every session that Valkey still has, newest first."""
        return await self.known(
            await self._valkey.call(self._valkey.client.zrevrange(keys.SESSIONS, 0, -1))
        )

    async def newest(self, count: int, after: str = "") -> tuple[list[Session], str]:
        """At most ``count`` sessions, newest first, and the id to go on ``after``, '' at the end.

        Raises:
            LookupError: there is no session ``after``.
        """
        client = self._valkey.client
        first = 0
        if after:
            rank = await self._valkey.call(client.zrevrank(keys.SESSIONS, after))
            if rank is None:
                raise LookupError(after)
            first = rank + 1
        ids = await self._valkey.call(client.zrevrange(keys.SESSIONS, first, first + count))
        rest = ids[count - 1] if len(ids) > count else ""
        return await self.known(ids[:count]), rest

    async def known(self, ids: Sequence[str]) -> list[Session]:
        """Those of these sessions that there are, without those of later versions."""
        client = self._valkey.client
        found: list[Session] = []
        for start in range(0, len(ids), 500):
            pipe = client.pipeline(transaction=False)
            for session_id in ids[start : start + 500]:
                pipe.hgetall(keys.session(session_id))
            answers = await self._valkey.call(pipe.execute())
            found.extend(session_of(one) for one in answers if one and not is_newer(one))
        return found

    async def count_active(self) -> int:
        """How many sessions of all tablets are not completed."""
        client = self._valkey.client
        identities = await self._valkey.call(client.smembers(keys.TABLETS))
        pipe = client.pipeline(transaction=False)
        for identity in identities:
            pipe.scard(keys.tablet_sessions(identity))
        return sum(await self._valkey.call(pipe.execute())) if identities else 0

    async def forget_expired(self) -> int:
        """Drop index entries of sessions that Valkey has let expire; how many."""
        client = self._valkey.client
        ids = await self._valkey.call(client.zrange(keys.SESSIONS, 0, -1))
        gone = 0
        for session_id in ids:
            if not await self._valkey.call(client.exists(keys.session(session_id))):
                gone += await self._valkey.call(client.zrem(keys.SESSIONS, session_id))
        return gone

    async def device_statuses(self, session: Session) -> list[DeviceSessionStatus]:
        """Each device's part, in the session's order."""
        fields = await self._valkey.call(
            self._valkey.client.hgetall(keys.session_devices(session.session_id))
        )

        def upload_status(device_id: str) -> UploadState:
            text = fields.get(f"{device_id}:uploadStatus", "pending")
            return text if text in get_args(UploadState) else "pending"

        return [
            {
                "deviceId": device_id,
                "isRecording": fields.get(f"{device_id}:isRecording") == "1",
                "frameCount": int(float(fields.get(f"{device_id}:frameCount", 0))),
                "uploadProgress": float(fields.get(f"{device_id}:uploadProgress", 0)),
                "uploadStatus": upload_status(device_id),
            }
            for device_id in session.device_ids
        ]
