"""SIGTERM: clients leave one by one and come back by themselves, uploads end or leave nothing."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import httpx
import pytest
import redis.asyncio as redis
import socketio
from cluster import nodes
from lab import until
from support import TOKENS, Client, Server, new_id, tablet
from uploading import new_time, stored

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.state import keys

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "server", TABLET_GRACE_SECONDS="30", DRAIN_SECONDS="3").start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()
    log = running.log.read_text()
    for trouble in ("event_failed", "packet_failed", "Traceback", "background_work_failed"):
        assert trouble not in log, log


def terminate(server: Server) -> float:
    assert server.process is not None
    server.process.terminate()
    return time.monotonic()


async def gone(server: Server, since: float) -> None:
    assert server.process is not None
    await asyncio.to_thread(server.process.wait, 20)
    assert time.monotonic() - since < 15, "it took longer than 15 s"


async def test_clients_leave_spread_out(server: Server) -> None:
    count = 100
    left: list[float] = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            client = await stack.enter_async_context(Client(server, DeviceType.DASHBOARD))
            client.socket.on("disconnect", lambda _: left.append(time.monotonic()))
        asked = terminate(server)
        await until(lambda: _all(left, count))
        # One each 20 ms: not before, and not all at once.
        assert left[-1] - left[0] > 0.8 * count * 0.02
        assert left[-1] - asked < 5
        with pytest.raises(httpx.TransportError):
            async with server.http() as http:
                await http.get("/test")
        await gone(server, asked)


async def _all(left: list[float], count: int) -> bool:
    return len(left) == count


async def test_nobody_there_means_no_wait(server: Server) -> None:
    asked = terminate(server)
    await gone(server, asked)
    assert time.monotonic() - asked < 6


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=["websocket", "polling"])
async def test_recording_goes_on_and_clients_come_back_by_themselves(
    server: Server, transports: list[str]
) -> None:
    """The official client reconnects on its own; the headset is never told to stop."""
    device, commands = new_id("headset"), []
    # A session of ours: of those that it opens itself, it closes only the last.
    http = aiohttp.ClientSession()
    quest = socketio.AsyncClient(
        reconnection_delay=0.2, reconnection_delay_max=0.5, http_session=http
    )
    quest.on("*", lambda name, *_: commands.append(name))

    async def say_who() -> None:
        await quest.emit("headset-identify", device)
        await quest.emit("headset-recording-state", True)

    quest.on("connect", say_who)
    await quest.connect(
        server.url, auth={"token": TOKENS.issue(device, DeviceType.HEADSET)}, transports=transports
    )
    operator = tablet(server)
    try:
        async with operator:
            await operator.gets(
                catalogue.ON_HEADSETS_UPDATED, lambda ids: any(device in str(one) for one in ids)
            )
            made = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [device]},
            )
            await operator.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, made["sessionId"]
            )
            asked = terminate(server)
            await gone(server, asked)
        commands.clear()
        server.start()
        async with tablet(server, operator.identity) as back:
            active = await back.ask(
                catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
            )
            assert active["sessionId"] == made["sessionId"]
            assert active["status"] == "recording"

            async def is_back() -> bool:
                return "on-headset-connected" in commands

            await until(is_back)
            await back.settled()
            assert "on-tablet-stop-recording" not in commands
    finally:
        await quest.disconnect()
        await http.close()


def form(boundary: str, name: str, body: bytes, *, last: bool) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'
    return head.encode() + body + b"\r\n" + (f"--{boundary}--\r\n".encode() if last else b"")


async def send_form(
    server: Server, when: str, video: bytes, data: bytes, on: asyncio.Event, begun: asyncio.Event
) -> httpx.Response:
    """A form whose video is sent at once, and whose data waits for ``on``."""
    boundary = "of-a-form"

    async def body() -> AsyncIterator[bytes]:
        field = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="timestamp"\r\n\r\n{when}\r\n'
        )
        yield field.encode()
        yield form(boundary, "video", video, last=False)
        begun.set()
        await on.wait()
        yield form(boundary, "data", data, last=True)

    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        return await http.post(
            "/upload-session", content=body(), timeout=30,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )  # fmt: skip


async def draining(server: Server) -> None:
    async def refuses() -> bool:
        try:
            async with server.http() as http:
                await http.get("/test")
        except httpx.TransportError:
            return True
        return False

    await until(refuses)


async def test_a_form_that_is_coming_in_ends(server: Server) -> None:
    when, video, data = new_time(), os.urandom(11 * MIB), os.urandom(MIB)
    on, begun = asyncio.Event(), asyncio.Event()
    sending = asyncio.create_task(send_form(server, when, video, data, on, begun))
    await begun.wait()
    asked = terminate(server)
    await draining(server)
    on.set()
    answer = await sending
    assert answer.status_code == 200, answer.text
    await gone(server, asked)
    server.start()
    assert await stored(server, f"sessions/{when}/recording.mp4") == video
    assert await stored(server, f"sessions/{when}/session_data.npz") == data


async def stalls(
    server: Server, head: list[str], body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body stops after ``body``; it has been taken in when this returns."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    await writer.drain()
    return reader, writer


async def is_cut(reader: asyncio.StreamReader) -> None:
    """The server says that it stops, and hangs up; the kernel may throw that answer away, as the
    rest of the body was on its way."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(15):
            while piece := await reader.read(4096):
                answer += piece
    assert not answer or answer.startswith(b"HTTP/1.1 503 "), answer
    assert not answer or b"The server is stopping" in answer


async def test_a_form_that_does_not_end_is_cut_and_leaves_nothing(server: Server) -> None:
    when, video = new_time(), os.urandom(11 * MIB)
    token = TOKENS.issue(new_id("headset"), DeviceType.HEADSET)
    field = f'--b\r\nContent-Disposition: form-data; name="timestamp"\r\n\r\n{when}\r\n'.encode()
    head = ["POST /upload-session HTTP/1.1", "Host: lab", f"Authorization: Bearer {token}",
            "Content-Type: multipart/form-data; boundary=b", "Content-Length: 99000000"]  # fmt: skip
    reader, writer = await stalls(server, head, field + form("b", "video", video, last=False))
    asked = terminate(server)
    await is_cut(reader)
    writer.close()
    await gone(server, asked)
    server.start()
    assert await stored(server, f"sessions/{when}/recording.mp4") is None
    async with server.http() as http:
        metrics = (await http.get("/metrics")).text
    assert "\nturing_uploads_in_progress 0.0" in metrics


async def test_a_part_that_does_not_end_is_cut_at_its_boundary(server: Server) -> None:
    """What was sent before is kept, the upload goes on after the restart."""
    body = os.urandom(12 * MIB)
    token = {"Authorization": f"Bearer {TOKENS.issue(new_id('headset'), DeviceType.HEADSET)}"}
    async with httpx.AsyncClient(base_url=server.url, headers=token, timeout=30) as http:
        begun = (
            await http.post(
                "/chunked-upload/start",
                json={"timestamp": new_time(), "fileType": "video", "fileSize": len(body),
                      "fileName": "recording.mp4"},
            )
        ).json()  # fmt: skip
        names = {"uploadId": begun["uploadId"], "s3Key": begun["s3Key"]}
        first, second = (part["url"] for part in begun["presignedUrls"])
        put = await http.put(first, content=body[: 10 * MIB])
        etags = [put.headers["etag"]]
        path = second.removeprefix(server.url)
        head = [f"PUT {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}",
                f"Content-Length: {2 * MIB}"]  # fmt: skip
        reader, writer = await stalls(server, head, body[10 * MIB : 11 * MIB])
        asked = terminate(server)
        await is_cut(reader)
        writer.close()
        await gone(server, asked)
        server.start()
        status = (await http.get("/chunked-upload/status", params=names)).json()
        assert [part["partNumber"] for part in status["uploadedParts"]] == [1]
        put = await http.put(second, content=body[10 * MIB :])
        etags.append(put.headers["etag"])
        parts = [{"partNumber": n, "etag": etag} for n, etag in enumerate(etags, 1)]
        done = await http.post("/chunked-upload/complete", json={**names, "parts": parts})
        assert done.status_code == 200, done.text
    assert await stored(server, begun["s3Key"]) == body


async def test_a_request_that_is_not_done_in_time_is_for_another_server(
    tmp_path: Path, valkey_url: str
) -> None:
    token = {"Authorization": f"Bearer {TOKENS.issue(new_id('headset'), DeviceType.HEADSET)}"}
    with nodes(tmp_path, 1, valkey_url) as (server,):
        async with (
            httpx.AsyncClient(base_url=server.url, headers=token, timeout=30) as http,
            redis.Redis.from_url(valkey_url) as valkey,
        ):
            begun = (
                await http.post(
                    "/chunked-upload/start",
                    json={"timestamp": new_time(), "fileType": "video", "fileSize": 4,
                          "fileName": "recording.mp4"},
                )
            ).json()  # fmt: skip
            names = {"uploadId": begun["uploadId"], "s3Key": begun["s3Key"]}
            put = await http.put(begun["presignedUrls"][0]["url"], content=b"1234")
            # Another server is at it, and does not come to an end.
            await valkey.set(keys.upload_lock(begun["uploadId"]), "another", ex=60)
            parts = [{"partNumber": 1, "etag": put.headers["etag"]}]
            waiting = asyncio.create_task(
                http.post("/chunked-upload/complete", json={**names, "parts": parts})
            )
            await asyncio.sleep(0.5)
            asked = terminate(server)
            answer = await waiting
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "stopping" in answer.json()["error"]
            await gone(server, asked)
