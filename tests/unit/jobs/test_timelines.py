"""Timelines are read once per version of a recording."""

import asyncio

import pytest
from recordings import SESSION, Counted, arrays, npz

from quest_backend.jobs.memory import MemoryBudget
from quest_backend.jobs.range_reads import RemoteFile
from quest_backend.jobs.timelines import DataFile, Timelines
from quest_backend.qa.ranges import Span
from quest_backend.qa.recording import MAX_MEMBER_BYTES

pytestmark = pytest.mark.asyncio


class Folder:
    """Recordings in memory, by session."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name: Counted(data) for name, data in files.items()}
        self.at_once = self.most_at_once = 0

    async def opened(self, session_id: str) -> DataFile | None:
        counted = self.files.get(session_id)
        if counted is None:
            return None

        async def fetch(span: Span) -> bytes:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            return counted(span)

        return DataFile(str(hash(counted.data)), RemoteFile(len(counted.data), fetch))

    def timelines(self) -> Timelines:
        return Timelines(self.opened, MemoryBudget(), MAX_MEMBER_BYTES)


async def test_a_recording_is_read_once_until_it_changes() -> None:
    folder = Folder(**{SESSION: npz(arrays(5000))})
    timelines = folder.timelines()
    first = await timelines.of(SESSION)
    assert first is not None
    assert (first["frames"], first["points"], len(first["starts"])) == (5000, 2000, 2000)
    requests = folder.files[SESSION].requests
    assert await timelines.of(SESSION) == first
    assert folder.files[SESSION].requests == requests
    folder.files[SESSION] = Counted(npz(arrays(10)))
    again = await timelines.of(SESSION)
    assert again is not None
    assert again["frames"] == 10


async def test_what_cannot_be_read_has_no_timeline() -> None:
    timelines = Folder(bad=b"no zip", empty=b"").timelines()
    assert await timelines.of("bad") is None
    assert await timelines.of("empty") is None
    assert await timelines.of("unknown") is None


async def test_the_oldest_is_forgotten_and_many_wait_their_turn() -> None:
    folder = Folder(**{f"s{number}": npz(arrays(100 + number)) for number in range(70)})
    timelines = folder.timelines()
    await asyncio.gather(*(timelines.of(name) for name in folder.files))
    # Two recordings, each with at most four requests on their way.
    assert folder.most_at_once <= 8
    before = sum(each.requests for each in folder.files.values())
    await timelines.of("s69")
    assert sum(each.requests for each in folder.files.values()) == before
    await timelines.of("s0")
    assert sum(each.requests for each in folder.files.values()) > before
