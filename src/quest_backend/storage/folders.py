"""Folders of recordings: reserved in Valkey, remembered in the objects' own metadata.

Sessions on several headsets start in the same second, and the schema's key holds no device. The
first headset gets the folder it asks for, another the next free second: of a fleet that makes more
than one recording a second for a while, some are named up to a day later.
"""

import asyncio

from quest_backend.protocol.recordings import PREFIX, FileType, following, key_of, spans_after
from quest_backend.storage.records import UploadRecords
from quest_backend.storage.s3 import ObjectStore

DEVICE_META = "quest-device"
ASKED_META = "quest-asked"
UPLOAD_META = "quest-upload"

# So many seconds are looked at together; a divisor of a day.
_SPAN_S = 300
_SPANS = 24 * 3600 // _SPAN_S
# So many folders of unknown owners are looked into: who they belong to is in their objects.
_LOOKED_INTO = 20


class NoFolder(Exception):  # noqa: N818 - an answer
    """Every folder of the day after the asked second is taken."""


class Folders:
    """Gives each recording a folder of its own."""

    def __init__(self, store: ObjectStore, records: UploadRecords) -> None:
        self._store = store
        self._records = records

    async def reserve(self, device_id: str, asked: str) -> str:
        """The folder of what ``device_id`` recorded at ``asked``; the same one each time.

        Raises:
            NoFolder: every second of the day after ``asked`` is taken.
        """
        had = await self._records.place_of(device_id, asked)
        if had:
            folder = await self._records.reserve(device_id, asked, [had], {})
        else:
            folder = await self._free(device_id, asked, asked)
        if folder is None:
            folder = await self._free_later(device_id, asked)
        return folder

    async def _free(self, device_id: str, asked: str, since: str) -> str | None:
        candidates = following(since, _SPAN_S)
        known = await self._owners(since, set(candidates))
        return await self._records.reserve(device_id, asked, candidates, known)

    async def _free_later(self, device_id: str, asked: str) -> str:
        spans = spans_after(asked, _SPAN_S, _SPANS)
        full = await self._records.full_spans(spans)
        for span in spans:
            if span in full:
                continue
            folder = await self._free(device_id, asked, span)
            if folder is not None:
                return folder
            await self._records.mark_full(span)
        raise NoFolder(f"every second of the day after {asked} has a recording")

    async def _owners(self, since: str, candidates: set[str]) -> dict[str, str]:
        """Owners of what the bucket holds in the candidates; '?' where nobody knows."""
        # With the slash: SeaweedFS skips all of a folder that a listing is to start after.
        keys = await self._store.keys_from(PREFIX, f"{PREFIX}{since}/")
        folders = [key.removeprefix(PREFIX).partition("/")[0] for key in keys]
        found = [folder for folder in dict.fromkeys(folders) if folder in candidates]
        owners = dict.fromkeys(found, "?")
        # Only a recording that the records have forgotten is looked for here.
        looked = found[:_LOOKED_INTO]
        answers = await asyncio.gather(*(self._owner(folder) for folder in looked))
        return owners | dict(zip(looked, answers, strict=True))

    async def _owner(self, folder: str) -> str:
        for file_type in FileType:
            stored = await self._store.head(key_of(folder, file_type))
            if stored is not None and DEVICE_META in stored.metadata:
                return f"{stored.metadata[DEVICE_META]}:{stored.metadata.get(ASKED_META, '')}"
        return "?"
