"""``/upload-session``: both files in one form, streamed, both or nothing."""

import os
from typing import Any

import httpx
import pytest
from support import Server, new_id
from uploading import new_time, stored

from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


async def post(
    server: Server, device: str, fields: dict[str, str], files: list[Any]
) -> httpx.Response:
    async with server.http(device, DeviceType.HEADSET) as http:
        return await http.post("/upload-session", data=fields, files=files, timeout=60)


def form(video: bytes, data: bytes) -> list[Any]:
    return [
        ("video", ("recording.mp4", video, "video/mp4")),
        ("data", ("session_data.npz", data, "application/octet-stream")),
    ]


async def test_both_files_arrive_whole(server: Server) -> None:
    video, data, stamp = os.urandom(23 * MIB + 5), os.urandom(1000), new_time()
    fields = {"timestamp": stamp, "sessionId": "session_1"}
    reply = await post(server, new_id("headset"), fields, form(video, data))
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["ok"]
    assert (body["sessionId"], body["timestamp"]) == ("session_1", stamp)
    assert body["mp4"]["key"] == f"sessions/{stamp}/recording.mp4"
    assert body["npz"]["key"] == f"sessions/{stamp}/session_data.npz"
    assert set(body["mp4"]) == {"bucket", "key", "location", "etag"}
    assert await stored(server, body["mp4"]["key"]) == video
    assert await stored(server, body["npz"]["key"]) == data


async def test_two_headsets_of_one_second_get_a_folder_each(server: Server) -> None:
    stamp = new_time()
    first = await post(server, new_id("headset"), {"timestamp": stamp}, form(b"v1", b"d1"))
    other = await post(server, new_id("headset"), {"timestamp": stamp}, form(b"v2", b"d2"))
    assert first.json()["mp4"]["key"] != other.json()["mp4"]["key"]
    assert await stored(server, first.json()["mp4"]["key"]) == b"v1"
    assert await stored(server, other.json()["npz"]["key"]) == b"d2"


@pytest.mark.parametrize("case", ["no data", "no video", "empty data", "twice", "torn", "bad time",
                                  "no time", "late time", "not a form"])  # fmt: skip
async def test_a_failed_second_file_leaves_no_half_session(server: Server, case: str) -> None:
    stamp, device = new_time(), new_id("headset")
    video, data = form(b"v" * 1000, b"d" * 1000)
    files = {
        "no data": [video],
        "no video": [data],
        "empty data": [video, ("data", ("x.npz", b"", "application/octet-stream"))],
        "twice": [video, video],
    }.get(case, [video, data])
    request = httpx.Request(
        "POST", server.url, data={"timestamp": "20260230_000000" if case == "bad time" else stamp},
        files=files,
    )  # fmt: skip
    content = request.read()
    kind = request.headers["content-type"]
    boundary = b"--" + kind.partition("boundary=")[2].encode()
    _, time, *rest = content.split(boundary)
    if case == "torn":
        content = content[: content.rindex(b"d" * 500)]
    if case == "no time":
        content = boundary + boundary.join(rest)
    if case == "late time":
        content = boundary + boundary.join([*rest[:-1], time, rest[-1]])
    if case == "not a form":
        kind = "application/json"
    async with server.http(device, DeviceType.HEADSET) as http:
        reply = await http.post("/upload-session", content=content, headers={"Content-Type": kind})
        assert reply.status_code == 400, reply.text
        assert reply.json()["ok"] is False
        metrics = (await http.get("/metrics")).text
    assert "turing_uploads_in_progress" in metrics
    for name in ("recording.mp4", "session_data.npz"):
        assert await stored(server, f"sessions/{stamp}/{name}") is None
    whole = await post(server, device, {"timestamp": stamp}, [video, data])
    assert whole.status_code == 200


async def test_it_is_limited_to_ten_in_fifteen_minutes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = Server(tmp_path_factory.mktemp("limited"), RATE_LIMIT_MULTIPLIER="1").start()
    try:
        device = new_id("headset")
        for _ in range(10):
            assert (await post(server, device, {}, form(b"v", b"d"))).status_code == 400
        over = await post(server, device, {"timestamp": new_time()}, form(b"v", b"d"))
        assert over.status_code == 429
        assert int(over.headers["retry-after"]) > 60
    finally:
        server.stop()
