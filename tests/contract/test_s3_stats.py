"""Bucket statistics over REST: CONTRACT §8, schema S3Stats."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from support import ADMIN_KEY, Server, new_id
from uploading import bucket

from quest_backend.protocol.events import DeviceType
from quest_backend.storage.bucket_report import S3Stats

pytestmark = pytest.mark.asyncio

GB = 2**30
VIDEO = "recording.mp4"
DATA = "session_data.npz"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a bucket of its own."""
    running = Server(tmp_path_factory.mktemp("stats"), RATE_LIMIT_MULTIPLIER="1e3").start()
    yield running
    running.stop()
    log = running.log.read_text()
    assert "Traceback" not in log, log
    assert "bucket_count_failed" not in log, log


async def get(server: Server, path: str = "") -> Any:
    async with server.http(admin=True) as http:
        answer = await http.get(f"/api/s3-stats{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refresh(server: Server) -> Any:
    async with server.http(admin=True) as http:
        answer = await http.post("/api/s3-stats/refresh", timeout=40)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def upload(
    server: Server, device: str, stamp: str, *, video: bytes = b"", data: bytes = b""
) -> None:
    """A recording, or one file of it, as headsets send it."""
    async with server.http(device, DeviceType.HEADSET) as http, httpx.AsyncClient() as plain:
        for kind, body in (("video", video), ("data", data)):
            if not body:
                continue
            asked = {"timestamp": stamp, "fileType": kind, "fileSize": len(body)}
            begun = (await http.post("/chunked-upload/start", json=asked)).json()
            put = await plain.put(begun["presignedUrls"][0]["url"], content=body)
            done = await http.post(
                "/chunked-upload/complete",
                json={
                    "uploadId": begun["uploadId"],
                    "s3Key": begun["s3Key"],
                    "parts": [{"partNumber": 1, "etag": put.headers["ETag"]}],
                },
            )
            assert done.status_code == 200, done.text


async def test_an_empty_bucket_is_zeros_and_then_uploads_count_at_once(lab: Server) -> None:
    """The first look reads the bucket; each finished upload is in the next look, without a pass."""
    empty = await get(lab)
    TypeAdapter(S3Stats).validate_python(empty)
    assert empty["overview"]["totalFiles"] == 0
    assert empty["sessions"] == {"total": 0, "complete": 0, "incomplete": 0, "sessions": []}
    assert empty["costs"]["costPerSession"] == 0
    before = await get(lab, "/status")
    device = new_id("headset")
    await upload(lab, device, "20260206_143052", video=bytes(3000))
    half = await get(lab)
    assert half["sessions"]["sessions"] == [
        {"id": "20260206_143052", "files": 1, "sizeGB": 3000 / GB, "hasMp4": True,
         "hasNpz": False, "status": "incomplete"}
    ]  # fmt: skip
    await upload(lab, device, "20260206_143052", data=bytes(1000))
    await upload(lab, device, "20260206_143052", video=bytes(5000))  # again, and larger
    whole = await get(lab)
    TypeAdapter(S3Stats).validate_python(whole)
    assert whole["overview"]["totalFiles"] == 2
    assert whole["overview"]["totalSizeBytes"] == 6000
    assert whole["overview"]["lastUpdated"] > empty["overview"]["lastUpdated"]
    assert (whole["sessions"]["complete"], whole["sessions"]["incomplete"]) == (1, 0)
    assert whole["byType"][".mp4"]["count"] == 1
    assert whole["byType"][".mp4"]["percentage"] == pytest.approx(100 * 5 / 6)
    assert whole["costs"]["costPerSession"] == pytest.approx(6000 / GB * 0.023)
    assert whole["insights"]["npzStats"]["medianMB"] == 1000 / 2**20
    assert [one["mp4Count"] for one in whole["timeline"]] == [1]
    assert (await get(lab, "/status"))["updatedAt"] == before["updatedAt"], "no pass was needed"
    await refresh(lab)
    listed = await get(lab)
    for part in ("byType", "sessions", "timeline", "costs", "insights", "processedOutputs"):
        assert listed[part] == whole[part], part


async def test_parts_are_the_whole_in_parts(lab: Server) -> None:
    await upload(lab, new_id("headset"), "20260207_101010", video=b"v", data=b"d")
    whole = await get(lab)
    assert await get(lab, "/overview") == whole["overview"]
    assert await get(lab, "/sessions") == whole["sessions"]
    assert await get(lab, "/timeline") == whole["timeline"]


async def test_a_refresh_finds_what_others_put_into_the_bucket(lab: Server) -> None:
    async with bucket(lab.data_dir) as store:
        for key, body in (
            ("client_output/week 6.zip", b"zip"),
            ("sessions/20260208_000000/recording.mp4", b"1234"),
            ("sessions/not-a-session/notes.txt", b""),
        ):
            upload_id = await store.begin(key, "application/zip", {})
            part = await store.put_part(key, upload_id, 1, body or b"x")
            await store.complete(key, upload_id, [part])
    status = await refresh(lab)
    assert status["state"] == "fresh"
    found = await get(lab)
    assert status["objectsRead"] == found["overview"]["totalFiles"]
    assert found["processedOutputs"]["count"] == 1
    assert found["processedOutputs"]["files"][0]["name"] == "week 6.zip"
    assert "20260208_000000" in {one["id"] for one in found["sessions"]["sessions"]}
    assert found["byType"][".txt"]["count"] == 1
    assert sum(one["zipCount"] for one in found["timeline"]) == 1


async def test_refreshes_at_once_are_joined(lab: Server) -> None:
    """Ten of them, and none gets an answer from before it asked."""
    before = lab.log.read_text().count("bucket_read")
    answers = await asyncio.gather(*(refresh(lab) for _ in range(10)))
    assert {one["state"] for one in answers} <= {"fresh", "refreshing"}
    assert 1 <= lab.log.read_text().count("bucket_read") - before <= 2


@pytest.mark.parametrize("path", ["", "/summary", "/overview", "/sessions", "/timeline", "/status"])
async def test_only_admins_may_look(lab: Server, path: str) -> None:
    async with lab.http() as http:
        assert (await http.get(f"/api/s3-stats{path}")).status_code == 401
    async with lab.http(new_id("tablet")) as http:
        answer = await http.get(f"/api/s3-stats{path}")
        assert answer.status_code == 403
        assert answer.json()["ok"] is False
        assert (await http.post("/api/s3-stats/refresh")).status_code == 403


async def test_they_survive_a_restart(tmp_path: Path) -> None:
    server = Server(tmp_path / "server").start()
    try:
        await get(server)
        await upload(server, new_id("headset"), "20260206_143052", video=b"v", data=b"d")
        before = await get(server)
        server.stop()
        server.start()
        assert await get(server) == before
        assert server.log.read_text().count("bucket_read") == 1
    finally:
        server.stop()


async def run_stats(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quest_backend", "stats", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_shows_them(lab: Server) -> None:
    await upload(lab, new_id("headset"), "20260209_101010", video=b"v" * 2048)
    found = await get(lab)
    code, out, err = await run_stats("--url", lab.url, "--api-key", ADMIN_KEY, "--refresh")
    assert code == 0, err
    assert f"{found['overview']['totalFiles']} files" in out
    assert "20260209_101010" in out
    assert "missing" in out
    code, out, err = await run_stats("--url", lab.url, "--api-key", ADMIN_KEY, "--json")
    assert code == 0, err
    assert json.loads(out)["sessions"] == found["sessions"]
    code, out, err = await run_stats("--url", lab.url, "--api-key", "wrong")
    assert (code, out) == (1, "")
    assert "Wrong X-API-Key" in err
    code, out, err = await run_stats("--url", "http://127.0.0.1:1", "--api-key", ADMIN_KEY)
    assert (code, out) == (1, "")
    assert "Cannot connect" in err
    assert "Traceback" not in err


async def test_the_summary_is_the_whole_without_its_long_lists(lab: Server) -> None:
    """And with the newest of what is incomplete or processed, newest first."""
    for stamp in ("20260210_101010", "20260210_101011"):
        await upload(lab, new_id("headset"), stamp, data=b"d")
    async with bucket(lab.data_dir) as store:
        upload_id = await store.begin("client_output/later.zip", "application/zip", {})
        part = await store.put_part("client_output/later.zip", upload_id, 1, b"zip")
        await store.complete("client_output/later.zip", upload_id, [part])
    await refresh(lab)
    whole, found = await get(lab), await get(lab, "/summary")
    for name in ("overview", "byType", "timeline", "costs", "insights"):
        assert found[name] == whole[name]
    assert found["sessionCount"] == whole["sessions"]["total"]
    assert found["completeCount"] == whole["sessions"]["complete"]
    incomplete = [row for row in whole["sessions"]["sessions"] if row["status"] == "incomplete"]
    assert found["newestIncomplete"] == incomplete[::-1]
    assert found["newestIncomplete"][0]["id"] == "20260210_101011"
    assert found["outputCount"] == whole["processedOutputs"]["count"]
    newest = sorted(whole["processedOutputs"]["files"], key=lambda row: row["date"], reverse=True)
    assert [row["name"] for row in found["newestOutputs"]] == [row["name"] for row in newest]
