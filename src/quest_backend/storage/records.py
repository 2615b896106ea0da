"""What Valkey knows of uploads. Keys, types and lifetimes: docs/state.md."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from quest_backend import tasks
from quest_backend.clock import Clock
from quest_backend.fleet.sessions import Session
from quest_backend.protocol.payloads import UploadState
from quest_backend.protocol.recordings import FileType, PartPlan, key_of
from quest_backend.state import keys
from quest_backend.state.sessions import SessionStore
from quest_backend.state.valkey import StoreUnavailable, Valkey
from quest_backend.state.versions import check

# Renewed while it is held. What a dead server leaves, or an outage (a Valkey that hung does what it
# was sent meanwhile), is gone before who waits for it gives up.
_LOCK_S = 15.0
_LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.1
# Past this the owner is read from the objects themselves.
FOLDER_TTL_S = 30 * 24 * 3600
_DAY_S = 24 * 3600

State = Literal["uploading", "completed", "aborted", "failed"]


class UploadBusy(Exception):  # noqa: N818 - an answer
    """Somebody else is at this upload, and has been for a while."""


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """One upload. ``nonce`` is also in the object's metadata, and proves which upload made it."""

    upload_id: str
    folder: str
    file_type: FileType
    device_id: str
    asked: str
    plan: PartPlan
    nonce: str
    started_ms: int
    session_id: str = ""
    state: State = "uploading"
    etag: str = ""
    checksum: str = ""

    @property
    def key(self) -> str:
        """The object it makes."""
        return key_of(self.folder, self.file_type)


@dataclass(frozen=True, slots=True)
class SessionPart:
    """A device's part in a session after one of its uploads changed. ``progress`` is percent.

    ``revision`` orders the changes of a session: answers may overtake each other.
    """

    session_id: str
    device_id: str
    status: UploadState
    progress: int
    revision: int


class UploadRecords:
    """The uploads' truth, beside the store's own."""

    def __init__(
        self, valkey: Valkey, sessions: SessionStore, clock: Clock, expiry_s: float
    ) -> None:
        self._valkey = valkey
        self._sessions = sessions
        self._clock = clock
        self._ttl_s = int(expiry_s) + _DAY_S

    async def reserve(
        self, device_id: str, asked: str, candidates: Sequence[str], known: dict[str, str]
    ) -> str | None:
        """A folder for the recording that ``device_id`` made at ``asked``; None when all are taken.

        The same for the same device and time. ``known``: owners of what the bucket holds.
        """
        answer = await self._valkey.script(
            "reserve_folder",
            device=device_id,
            asked=asked,
            candidates=list(candidates),
            known=known,
            ttl=FOLDER_TTL_S,
        )
        return str(answer[0]) if answer else None

    async def full_spans(self, spans: Sequence[str]) -> set[str]:
        """Those whose folders are all somebody's."""
        if not spans:
            return set()
        marks = await self._valkey.call(
            self._valkey.client.mget([keys.upload_span(span) for span in spans])
        )
        return {span for span, mark in zip(spans, marks, strict=True) if mark}

    async def mark_full(self, span: str) -> None:
        """All folders of this span are somebody's."""
        await self._valkey.call(self._valkey.client.set(keys.upload_span(span), "1", ex=_DAY_S))

    async def place_of(self, device_id: str, asked: str) -> str | None:
        """The folder that was given before, or None."""
        found = await self._valkey.call(
            self._valkey.client.get(keys.upload_place(device_id, asked))
        )
        return str(found) if found else None

    async def upload_of(self, folder: str, file_type: FileType) -> str:
        """The id of the newest upload of a file, '' for none."""
        found = await self._valkey.call(
            self._valkey.client.hget(keys.upload_folder(folder), str(file_type))
        )
        return str(found or "")

    async def claim(self, record: UploadRecord, expected: str) -> bool:
        """Make ``record`` the upload of its file, if that was ``expected`` until now."""
        plan = record.plan
        answer = await self._valkey.script(
            "claim_upload",
            upload=record.upload_id,
            folder=record.folder,
            file_type=str(record.file_type),
            expected=expected,
            ttl=self._ttl_s,
            now_ms=record.started_ms,
            record={
                "folder": record.folder,
                "fileType": str(record.file_type),
                "deviceId": record.device_id,
                "asked": record.asked,
                "fileSize": str(plan.file_bytes),
                "chunkSize": str(plan.chunk_bytes),
                "nonce": record.nonce,
                "startedMs": str(record.started_ms),
                "sessionId": record.session_id,
                "state": record.state,
                "bytes": "0",
            },
        )
        return bool(answer[0])

    async def load(self, upload_id: str) -> UploadRecord | None:
        """An upload, or None.

        Raises:
            NewerRecord: of a later version.
        """
        fields = await self._valkey.call(self._valkey.client.hgetall(keys.upload(upload_id)))
        if not fields:
            return None
        check("upload", fields)
        return UploadRecord(
            upload_id=upload_id,
            folder=fields["folder"],
            file_type=FileType(fields["fileType"]),
            device_id=fields["deviceId"],
            asked=fields["asked"],
            plan=PartPlan(int(fields["fileSize"]), int(fields["chunkSize"])),
            nonce=fields["nonce"],
            started_ms=int(fields["startedMs"]),
            session_id=fields["sessionId"],
            state=fields["state"],
            etag=fields.get("etag", ""),
            checksum=fields.get("checksum", ""),
        )

    async def note(
        self,
        upload_id: str,
        *,
        part: tuple[int, int] | None = None,
        stored_bytes: int | None = None,
        state: State | None = None,
        fields: dict[str, str] | None = None,
        begun_ms: int | None = None,
    ) -> tuple[bool, SessionPart | None]:
        """Note progress or the end; whether it was still open, and the session's part, if any.

        Args:
            upload_id: which.
            part: number and bytes of a part that the store has taken.
            stored_bytes: all bytes that the store has.
            state: what has become of it.
            fields: more to remember.
            begun_ms: when the headset began it, or began it again.
        """
        number, size = part or (None, None)
        answer = await self._valkey.script(
            "upload_progress",
            upload=upload_id,
            part=number,
            size=size,
            bytes=stored_bytes,
            state=state,
            fields=fields or ({} if state else None),
            begun=begun_ms,
            ttl=self._ttl_s,
        )
        if len(answer) < 2:
            return bool(answer), None
        _, session_id, device_id, status, progress, revision = answer
        return True, SessionPart(session_id, device_id, status, int(progress), int(revision))

    @asynccontextmanager
    async def alone(self, upload_id: str) -> AsyncIterator[None]:
        """Nobody else, on any node, ends this upload meanwhile.

        Raises:
            UploadBusy: somebody else has been at it for 30 seconds.
        """
        key, owner = keys.upload_lock(upload_id), secrets.token_hex(8)
        client, ttl_ms = self._valkey.client, int(_LOCK_S * 1000)
        deadline = self._clock.monotonic() + _LOCK_WAIT_S
        while not await self._valkey.call(client.set(key, owner, nx=True, px=ttl_ms)):
            if self._clock.monotonic() > deadline:
                raise UploadBusy(upload_id)
            await asyncio.sleep(_LOCK_POLL_S * random.uniform(0.5, 1))  # noqa: S311 - jitter
        renewing = asyncio.get_running_loop().create_task(self._renew(key, owner, ttl_ms))
        try:
            yield
        finally:
            await tasks.end([renewing])
            await self._valkey.script("keep_upload_lock", key=key, owner=owner, ttl_ms=0)

    async def _renew(self, key: str, owner: str, ttl_ms: int) -> None:
        while True:
            await asyncio.sleep(ttl_ms / 1000 / 3)
            # What the owner does next meets the same outage.
            with contextlib.suppress(StoreUnavailable):
                await self._valkey.script("keep_upload_lock", key=key, owner=owner, ttl_ms=ttl_ms)

    async def claim_poll(self, upload_id: str, lifetime_s: float) -> bool:
        """Whether this node is the one that looks after the upload for ``lifetime_s``."""
        return bool(
            await self._valkey.call(
                self._valkey.client.set(
                    keys.upload_poll(upload_id), "1", nx=True, px=max(1, int(lifetime_s * 1000))
                )
            )
        )

    async def open_uploads(self, before_ms: int | None = None) -> list[str]:
        """Ids of the unfinished uploads, oldest first; only those begun before ``before_ms``."""
        top = "+inf" if before_ms is None else before_ms
        return list(
            await self._valkey.call(self._valkey.client.zrangebyscore(keys.UPLOADS, "-inf", top))
        )

    async def forget(self, upload_id: str) -> None:
        """An unfinished upload whose record has expired."""
        await self._valkey.call(self._valkey.client.zrem(keys.UPLOADS, upload_id))

    async def count_open(self) -> int:
        """How many uploads of all nodes are unfinished."""
        return int(await self._valkey.call(self._valkey.client.zcard(keys.UPLOADS)))

    async def sessions_of(self, device_id: str) -> list[Session]:
        """The sessions that this device was in during the last days, newest first."""
        ids = await self._valkey.call(
            self._valkey.client.zrevrange(keys.device_sessions(device_id), 0, -1)
        )
        return await self._sessions.known(ids)
