"""Folders of recordings: reserved in Valkey, remembered in the objects' own metadata.

Sessions on several headsets start in the same second, and the schema's key holds no device. The
first headset gets the folder it asks for, another the next free second.
"""

import asyncio

from quest_backend.protocol.recordings import PREFIX, FileType, following, key_of
from quest_backend.storage.records import UploadRecords
from quest_backend.storage.s3 import ObjectStore

DEVICE_META = "quest-device"
ASKED_META = "quest-asked"
UPLOAD_META = "quest-upload"

# So many headsets may start in one second.
_CANDIDATES = 300
# So many folders of unknown owners are looked into: who they belong to is in their objects.
_LOOKED_INTO = 20


class NoFolder(Exception):  # noqa: N818 - an answer
    """Every folder near the asked second is taken."""


class Folders:
    """Gives each recording a folder of its own."""

    def __init__(self, store: ObjectStore, records: UploadRecords) -> None:
        self._store = store
        self._records = records

    async def reserve(self, device_id: str, asked: str) -> str:
        """The folder of what ``device_id`` recorded at ``asked``; the same one each time.

        Raises:
            NoFolder: hundreds of seconds after ``asked`` are taken.
        """
        had = await self._records.place_of(device_id, asked)
        candidates = [had] if had else following(asked, _CANDIDATES)
        known = {} if had else await self._owners(asked, set(candidates))
        folder = await self._records.reserve(device_id, asked, candidates, known)
        if folder is None:
            raise NoFolder(f"every folder within {_CANDIDATES} s of {asked} is taken")
        return folder

    async def _owners(self, asked: str, candidates: set[str]) -> dict[str, str]:
        """Owners of what the bucket holds in the candidates; '?' where nobody knows."""
        # With the slash: SeaweedFS skips all of a folder that a listing is to start after.
        keys = await self._store.keys_from(PREFIX, f"{PREFIX}{asked}/")
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
