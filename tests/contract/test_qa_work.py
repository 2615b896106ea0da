"""The work of QA over HTTP: a refresh, its progress, dead jobs, and forgetting."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from recordings import arrays, npz
from support import Server, new_id
from uploading import new_time, removed

from quest_backend.api.qa_models import QAStatus
from quest_backend.clock import Clock
from quest_backend.jobs import messages
from quest_backend.jobs.queue import QaQueue
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.judge import Judge
from quest_backend.qa.verdict import BUILT_IN
from quest_backend.state.qa import QaStore
from quest_backend.state.valkey import Valkey

pytestmark = pytest.mark.asyncio

SECONDS = 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("qa-work")).start()
    yield running
    running.stop()
    log = running.log.read_text()
    assert "request_failed" not in log, log
    assert "background_work_failed" not in log, log


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[tuple[Valkey, QaQueue]]:
    valkey = Valkey(f"unix://{server.data_dir}/valkey/valkey.sock", 5)
    try:
        yield valkey, QaQueue(valkey, Clock())
    finally:
        await valkey.close()


async def call(server: Server, method: str, path: str, status: int = 200) -> Any:
    async with server.http(admin=True) as http:
        reply = await http.request(method, f"/api/qa-metrics{path}")
    assert reply.status_code == status, reply.text
    return reply.json()


async def idle(server: Server) -> dict[str, Any]:
    """The status when nothing waits or runs any more."""
    deadline = time.monotonic() + SECONDS
    while True:
        status: dict[str, Any] = await call(server, "GET", "/status")
        QAStatus.model_validate(status)
        if not status["queued"] and not status["running"] and status["refreshing"] is None:
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.05)


async def uploaded(server: Server, stamp: str) -> None:
    files = [("video", ("recording.mp4", b"no video", "video/mp4")),
             ("data", ("session_data.npz", npz(arrays()), "application/octet-stream"))]  # fmt: skip
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        reply = await http.post("/upload-session", data={"timestamp": stamp}, files=files)
    assert reply.status_code == 200, reply.text


async def test_a_refresh_measures_only_what_is_new(lab: Server) -> None:
    stamp = new_time()
    await uploaded(lab, stamp)
    async with opened(lab) as (valkey, _):
        await idle(lab)
        known = await call(lab, "GET", f"/{stamp}")
        # Lost; the bucket still has it.
        assert await QaStore(valkey, Clock(), Judge.of(BUILT_IN, "standard")).remove(stamp)
    await call(lab, "GET", f"/{stamp}", 404)
    begun = await call(lab, "POST", "/refresh")
    assert begun == {"ok": True, "message": "The refresh has begun"}
    after = await idle(lab)
    assert await call(lab, "GET", f"/{stamp}") == known
    await call(lab, "POST", "/refresh")
    assert (await idle(lab))["done"] == after["done"]


async def test_a_dead_job_is_shown_and_can_be_tried_again(lab: Server) -> None:
    stamp = new_time()
    await uploaded(lab, stamp)
    before = await idle(lab)
    async with opened(lab) as (_, queue):
        await queue.died(messages.score_message(None, stamp), 5, "the bucket was away")
    status = await call(lab, "GET", "/status")
    assert status["failed"] == 1
    [dead] = status["dead"]
    assert dead == {"id": dead["id"], "sessionId": stamp, "error": "the bucket was away",
                    "attempts": 5, "at": dead["at"]}  # fmt: skip
    assert await call(lab, "POST", f"/dead/{dead['id']}/retry") == {"ok": True, "id": dead["id"]}
    after = await idle(lab)
    assert (after["failed"], after["dead"]) == (0, [])
    assert after["done"] == before["done"] + 1
    gone = await call(lab, "POST", f"/dead/{dead['id']}/retry", 404)
    assert "Job not found" in gone["error"]
    await call(lab, "POST", "/dead/a%20b/retry", 400)


async def test_cleaning_up_forgets_what_is_gone_from_the_bucket(lab: Server) -> None:
    gone, kept = new_time(), new_time()
    for stamp in (gone, kept):
        await uploaded(lab, stamp)
    await idle(lab)
    for file_type in FileType:
        await removed(lab, key_of(gone, file_type))
    done = await call(lab, "POST", "/cleanup")
    assert done["removed"] == 1
    await call(lab, "GET", f"/{gone}", 404)
    await call(lab, "GET", f"/{kept}")
    assert (await call(lab, "POST", "/cleanup")) == {**done, "removed": 0,
                                                     "checked": done["checked"] - 1}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/refresh"), ("POST", "/cleanup"), ("GET", "/status"), ("POST", "/dead/x/retry")],
)
async def test_only_admins_may(lab: Server, method: str, path: str) -> None:
    async with lab.http() as nobody, lab.http(new_id("tablet"), DeviceType.TABLET) as operator:
        for http, status in ((nobody, 401), (operator, 403)):
            assert (await http.request(method, f"/api/qa-metrics{path}")).status_code == status
