"""How far the recordings of sessions are: every file, as people look at it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from quest_backend.fleet.sessions import Session
from quest_backend.protocol.recordings import FILE_NAMES, FileType, key_of
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey
from quest_backend.storage.records import State

# Sessions whose files are asked for in one round trip.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file of one recording.

    ``stored`` of ``size`` bytes are in the object store. ``retries``: begun again, and parts sent
    again. ``checksum`` is what the whole file was compared by, '' for its size alone.
    """

    device_id: str
    folder: str
    file_type: FileType
    size: int
    stored: int
    state: State
    retries: int = 0
    started_ms: int = 0
    checksum: str = ""

    @property
    def key(self) -> str:
        """The object."""
        return key_of(self.folder, self.file_type)

    @property
    def uploaded(self) -> bool:
        """Whether every byte has arrived."""
        return self.verified or (self.state == "uploading" and self.stored >= self.size)

    @property
    def verified(self) -> bool:
        """Whether the object was made of them and is what the headset announced."""
        return self.state == "completed"


@dataclass(frozen=True, slots=True)
class DeviceProgress:
    """A headset's files in a session. ``recordings``: how many it said that it began."""

    recordings: int
    files: tuple[FileProgress, ...]

    @property
    def safe_to_delete(self) -> bool:
        """Whether the headset may forget what it recorded: all of it has both files, verified.

        False for a headset of which nothing was heard: it may still have everything.
        """
        verified: dict[str, set[FileType]] = {}
        for file in self.files:
            done = verified.setdefault(file.folder, set())
            if file.verified:
                done.add(file.file_type)
        whole = all(len(done) == len(FILE_NAMES) for done in verified.values())
        return bool(verified) and whole and len(verified) >= self.recordings


class UploadProgress:
    """Reads what the uploads' scripts have written."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def of_sessions(
        self, sessions: Sequence[Session]
    ) -> dict[str, dict[str, DeviceProgress]]:
        """By session and headset; files are ordered by recording and type.

        Raises:
            StoreUnavailable: the state store is away.
        """
        found: dict[str, dict[str, DeviceProgress]] = {}
        for first in range(0, len(sessions), _AT_ONCE):
            some = sessions[first : first + _AT_ONCE]
            pipe = self._valkey.client.pipeline(transaction=False)
            for session in some:
                pipe.hgetall(keys.session_uploads(session.session_id))
                pipe.hgetall(keys.session_devices(session.session_id))
            answers = await self._valkey.call(pipe.execute())
            plain = [
                [_file(name, text) for name, text in fields.items() if name != "rev"]
                for fields in answers[::2]
            ]
            details = await self._details([file for files in plain for file in files])
            for session, files, said in zip(some, plain, answers[1::2], strict=True):
                found[session.session_id] = _by_device(
                    session, [_detailed(file, details[file.key]) for file in files], said
                )
        return found

    async def _details(self, files: list[FileProgress]) -> dict[str, list[str | None]]:
        if not files:
            return {}
        pipe = self._valkey.client.pipeline(transaction=False)
        for file in files:
            names = [f"{file.file_type}{name}" for name in ("Retries", "Started", "Checksum")]
            pipe.hmget(keys.upload_folder(file.folder), names)
        answers = await self._valkey.call(pipe.execute())
        return {file.key: answer for file, answer in zip(files, answers, strict=True)}


def _by_device(
    session: Session, files: list[FileProgress], said: dict[str, str]
) -> dict[str, DeviceProgress]:
    grouped: dict[str, list[FileProgress]] = {device_id: [] for device_id in session.device_ids}
    for file in sorted(files, key=lambda file: (file.folder, file.file_type)):
        grouped.setdefault(file.device_id, []).append(file)
    return {
        device_id: DeviceProgress(int(said.get(f"{device_id}:recordings", 0)), tuple(some))
        for device_id, some in grouped.items()
    }


def _file(name: str, text: str) -> FileProgress:
    device_id, folder, file_type = name.split("|")
    size, stored, state = text.split(":")
    if state not in get_args(State):
        raise ValueError(f"upload {name} has unknown state {state!r}")
    return FileProgress(
        device_id, folder, FileType(file_type), int(size), int(stored), state  # type: ignore[arg-type]  # checked above
    )  # fmt: skip


def _detailed(file: FileProgress, fields: list[str | None]) -> FileProgress:
    retries, started, checksum = fields
    return replace(
        file, retries=int(retries or 0), started_ms=int(started or 0), checksum=checksum or ""
    )
