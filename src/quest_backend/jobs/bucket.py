"""Recordings in the bucket: found by listing, read by range."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from quest_backend.jobs.range_reads import RemoteFile
from quest_backend.protocol.recordings import PREFIX, FileType, key_of, parse_key
from quest_backend.qa.ranges import Span
from quest_backend.state.qa import fingerprint
from quest_backend.storage.listing import BucketListing
from quest_backend.storage.s3 import ListedObject, ObjectStore

# Reading so many of a listing holds the event loop for a millisecond or two.
_PAGE_KEYS = 500
# A folder holds two files, and perhaps what somebody else has put there.
_FOLDER_KEYS = 50


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as the bucket has it. ``etag`` is without quotes."""

    size: int
    etag: str
    modified_ms: int


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """What the bucket has of a recording; None for a file that is not there."""

    session_id: str
    data: StoredFile | None = None
    video: StoredFile | None = None

    @property
    def whole(self) -> bool:
        """Whether both files are there."""
        return self.data is not None and self.video is not None

    @property
    def empty(self) -> bool:
        """Whether neither is."""
        return self.data is None and self.video is None

    @property
    def fingerprint(self) -> str:
        """The version of the files."""
        data, video = self.data, self.video
        return fingerprint(data.etag if data else None, video.etag if video else None)

    @property
    def modified_ms(self) -> int:
        """When the newer file was written, Unix ms."""
        return max((file.modified_ms for file in (self.data, self.video) if file), default=0)

    def written(self) -> dict[str, list[Any]]:
        """For a job's message."""
        files = {"data": self.data, "video": self.video}
        return {
            name: [file.size, file.etag, file.modified_ms] for name, file in files.items() if file
        }

    @classmethod
    def read(cls, session_id: str, files: dict[str, list[Any]]) -> "StoredRecording":
        """What ``written`` wrote."""
        return cls(session_id, **{name: StoredFile(*values) for name, values in files.items()})


async def recording(store: ObjectStore, session_id: str) -> StoredRecording:
    """One recording as it is now; one request.

    Raises:
        ObjectStoreUnavailable: try again.
    """
    listed = await store.listed(f"{PREFIX}{session_id}/", "", _FOLDER_KEYS)
    return _recording(session_id, listed)


async def pages(store: ObjectStore, after: str = "") -> AsyncIterator[list[StoredRecording]]:
    """All recordings in order of their folders, those behind the folder ``after``.

    Raises:
        ObjectStoreUnavailable: try again, from the last one that came.
    """
    start = key_of(after, FileType.DATA) if after else ""
    rest: list[ListedObject] = []
    async for listed in BucketListing(store).objects(PREFIX, start, _PAGE_KEYS):
        folders: dict[str, list[ListedObject]] = {}
        for each in [*rest, *listed]:
            folders.setdefault(_folder(each), []).append(each)
        # Its other file may come with the next ones.
        _, rest = folders.popitem()
        if page := _recordings(folders):
            yield page
    if rest and (page := _recordings({_folder(rest[0]): rest})):
        yield page


def _folder(listed: ListedObject) -> str:
    return listed.key.removeprefix(PREFIX).partition("/")[0]


def _recordings(folders: dict[str, list[ListedObject]]) -> list[StoredRecording]:
    found = [_recording(folder, files) for folder, files in folders.items()]
    return [each for each in found if not each.empty]


def _recording(session_id: str, listed: list[ListedObject]) -> StoredRecording:
    files: dict[FileType, StoredFile] = {}
    for each in listed:
        try:
            _, file_type = parse_key(each.key)
        except ValueError:  # not a recording's
            continue
        files[file_type] = StoredFile(each.size, each.etag, each.modified_ms)
    return StoredRecording(session_id, files.get(FileType.DATA), files.get(FileType.VIDEO))


def remote(store: ObjectStore, key: str, file: StoredFile | None) -> RemoteFile | None:
    """Range reads of this version of an object; those of another version fail."""
    if file is None:
        return None
    etag = file.etag

    async def fetch(span: Span) -> bytes:
        return await store.read_range(key, span.start, span.end, etag)

    return RemoteFile(file.size, fetch)
