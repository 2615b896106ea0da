"""Both files of a recording in one request: streamed to the store part by part, both or nothing."""

import asyncio
import secrets
from dataclasses import dataclass, field, replace

import structlog

from quest_backend.protocol.limits import MAX_FORM_FILE_BYTES
from quest_backend.protocol.recordings import CONTENT_TYPES, FileType, PartPlan, key_of
from quest_backend.storage.folders import ASKED_META, DEVICE_META, UPLOAD_META, NoFolder
from quest_backend.storage.records import UploadRecord
from quest_backend.storage.refusals import Refusal, UploadRefused
from quest_backend.storage.s3 import Part
from quest_backend.storage.upload_types import Completed, Owner
from quest_backend.storage.uploads import Uploads

log = structlog.get_logger()

# 20 GiB are 2,048 of them; two are in memory, one filling and one on its way.
_PART_BYTES = 10 * 1024 * 1024


@dataclass(slots=True)
class _File:
    record: UploadRecord
    buffer: bytearray = field(default_factory=bytearray)
    size: int = 0
    parts: list[Part] = field(default_factory=list)
    sending: "asyncio.Task[Part] | None" = None
    whole: bool = False
    made: bool = False


class PairUpload:
    """One request's files. Write them one after the other, then ``finish``, or ``drop`` it all."""

    def __init__(self, uploads: Uploads, owner: Owner, asked: str, session_id: str) -> None:
        self._uploads = uploads
        self._store = uploads.store
        self._owner = owner
        self._asked = asked
        self._session_id = session_id
        self._files: dict[FileType, _File] = {}

    async def begin(self, file_type: FileType) -> None:
        """The next bytes are of this file.

        Raises:
            UploadRefused: it was there already, or no folder is free.
            ObjectStoreUnavailable, StoreUnavailable: try again.
        """
        if file_type in self._files:
            raise UploadRefused(Refusal.INVALID, f"{file_type}: sent twice")
        try:
            folder = await self._uploads.folders.reserve(self._owner.device_id, self._asked)
        except NoFolder as error:
            raise UploadRefused(Refusal.CONFLICT, str(error)) from None
        nonce = secrets.token_hex(12)
        upload_id = await self._store.begin(
            key_of(folder, file_type),
            CONTENT_TYPES[file_type],
            {DEVICE_META: self._owner.device_id, ASKED_META: self._asked, UPLOAD_META: nonce},
        )
        self._files[file_type] = _File(
            UploadRecord(
                upload_id=upload_id,
                folder=folder,
                file_type=file_type,
                device_id=self._owner.device_id,
                asked=self._asked,
                plan=PartPlan(1, _PART_BYTES),
                nonce=nonce,
                started_ms=self._uploads.now_ms(),
                session_id=await self._uploads.session_for(
                    self._owner.device_id, self._asked, self._session_id
                ),
            )
        )

    async def write(self, file_type: FileType, data: bytes) -> None:
        """More of this file. Waits while the store is slower than the client.

        Raises:
            UploadRefused: larger than a file may be.
            ObjectStoreFull: the embedded store's disk has no room.
            ObjectStoreUnavailable: try again.
        """
        file = self._files[file_type]
        file.size += len(data)
        if file.size > MAX_FORM_FILE_BYTES:
            raise UploadRefused(
                Refusal.TOO_LARGE, f"{file_type}: at most {MAX_FORM_FILE_BYTES} bytes (20 GiB)"
            )
        file.buffer += data
        while len(file.buffer) >= _PART_BYTES:
            await self._send(file, bytes(file.buffer[:_PART_BYTES]))
            del file.buffer[:_PART_BYTES]

    async def end(self, file_type: FileType) -> None:
        """This file is whole.

        Raises:
            UploadRefused: it is empty.
        """
        file = self._files[file_type]
        if not file.size:
            raise UploadRefused(Refusal.INVALID, f"{file_type}: empty")
        if file.buffer:
            await self._send(file, bytes(file.buffer))
            file.buffer.clear()
        await self._sent(file)
        file.whole = True

    async def _send(self, file: _File, body: bytes) -> None:
        await self._sent(file)
        self._uploads.check_room(len(body))
        number = len(file.parts) + 1
        record = file.record
        file.sending = asyncio.get_running_loop().create_task(
            self._store.put_part(record.key, record.upload_id, number, body)
        )

    @staticmethod
    async def _sent(file: _File) -> None:
        if file.sending is not None:
            sending, file.sending = file.sending, None
            file.parts.append(await sending)

    async def finish(self) -> dict[FileType, Completed]:
        """Make both objects.

        Raises:
            UploadRefused: a file is missing or not whole.
            ObjectStoreUnavailable, StoreUnavailable: try again; then nothing is there.
        """
        whole = {file_type for file_type, file in self._files.items() if file.whole}
        missing = [file_type for file_type in FileType if file_type not in whole]
        if missing:
            raise UploadRefused(
                Refusal.INVALID, f"{missing[0]}: missing or cut off; send both files"
            )
        for file in self._files.values():
            plan = PartPlan(file.size, _PART_BYTES)
            file.record = await self._uploads.take_over(replace(file.record, plan=plan))
        etags = {}
        for file_type, file in self._files.items():
            record = file.record
            etags[file_type] = await self._store.complete(record.key, record.upload_id, file.parts)
            file.made = True
        return {
            file_type: await self._uploads.finish(file.record, etags[file_type], None)
            for file_type, file in self._files.items()
        }

    async def drop(self) -> None:
        """Leave nothing: unfinished uploads are aborted, a finished first file is deleted."""
        for file in self._files.values():
            if file.sending is not None:
                file.sending.cancel()
                await asyncio.gather(file.sending, return_exceptions=True)
            if file.made:
                await self._uploads.delete(file.record)
            else:
                await self._store.abort(file.record.key, file.record.upload_id)
            await self._uploads.give_up(file.record)
            log.info("upload_dropped", key=file.record.key, device=file.record.device_id)
