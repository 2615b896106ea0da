"""The Caddyfile of deploy/, run: every transport, stickiness, a server that goes, uploads."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import httpx
import pytest
import redis
import socketio
from fronts import caddy
from lab import until
from support import TOKENS, Client, Server, headset, new_id, tablet
from uploading import new_time, stored

from quest_backend.client import UploadClient
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.recordings import FileType
from quest_backend.storage.embedded import EmbeddedS3

pytestmark = pytest.mark.asyncio

TRANSPORTS = pytest.mark.parametrize(
    "transports",
    [["websocket"], ["polling"], ["polling", "websocket"]],
    ids=["websocket", "polling", "upgrade"],
)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with embedded stores."""
    server = Server(tmp_path_factory.mktemp("single")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, single: Server
) -> Iterator[list[Server]]:
    """Two servers that share a Valkey and a bucket."""
    credentials, endpoint = EmbeddedS3(single.data_dir).known()
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    servers = [
        Server(
            tmp_path_factory.mktemp("node"),
            REDIS_URL=valkey_url,
            S3_ENDPOINT_URL=endpoint,
            AWS_ACCESS_KEY_ID=credentials.access_key,
            AWS_SECRET_ACCESS_KEY=credentials.secret_key,
        ).start()
        for _ in range(2)
    ]
    yield servers
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.stop()


@pytest.fixture
def front(pair: list[Server], tmp_path: Path) -> Iterator[Server]:
    with caddy(tmp_path / "caddy", *pair) as front:
        yield front


@TRANSPORTS
async def test_operator_and_headset_meet_behind_caddy(front: Server, transports: list[str]) -> None:
    async with (
        headset(front, transports=transports) as quest,
        tablet(front, transports=transports) as operator,
    ):
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        await quest.send(catalogue.HEADSET_FRAME, "AAAA")
        assert await operator.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == "AAAA"
        await operator.send(catalogue.TABLET_START_RECORDING, quest.identity)
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)


async def from_address(stack: AsyncExitStack, server: Server, number: int) -> Client:
    """A polling headset with an address of its own, as each has in a lab."""
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(f"127.0.7.{number}", 0)))
    )
    client = Client(server, DeviceType.HEADSET, transports=["polling"])
    client.socket = socketio.AsyncClient(reconnection=False, http_session=http)
    client.socket.on("*", client._on_event)
    await stack.enter_async_context(client)
    await client.ask(catalogue.HEADSET_IDENTIFY, catalogue.ON_HEADSET_CONNECTED, client.identity)
    return client


async def polling_headsets(server: Server) -> int:
    async with server.http() as http:
        text = (await http.get("/metrics")).text
    found = re.search(
        r'^turing_connected_devices_total\{type="headset"\} (\S+)', text, re.MULTILINE
    )
    return int(float(found[1])) if found else 0


async def test_polling_stays_on_its_server_and_leaves_one_that_goes(
    pair: list[Server], front: Server
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await from_address(stack, front, number) for number in range(1, 13)]
        counts = [await polling_headsets(server) for server in pair]
        assert sum(counts) == 12
        assert min(counts) > 0, "all went to one server"
        for client in clients:  # several requests each: one that strays is answered with a 400
            await client.settled()
            assert client.socket.connected
        # The server that goes sends its clients away; Caddy gives them another one at once.
        assert pair[1].stop() in (0, -15)
        again = [await from_address(stack, front, number) for number in range(1, 13)]
        assert all(client.socket.connected for client in again)
        assert await polling_headsets(pair[0]) >= 12
        pair[1].start()


async def test_a_cookie_outlives_a_change_of_address(pair: list[Server], front: Server) -> None:
    """A headset that roams to another access point keeps its server."""
    async with httpx.AsyncClient(base_url=front.url) as browser:
        await browser.get("/test")
        assert "quest_node" in browser.cookies
        jar = browser.cookies
    shares = set()
    for number in range(1, 9):
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.8.{number}")
        async with httpx.AsyncClient(
            base_url=front.url, cookies=jar, transport=transport
        ) as roaming:
            answer = await roaming.get("/test")
            assert answer.status_code == 200
            shares.add(answer.headers.get("set-cookie"))
    assert shares == {None}, "it was sent to another server"


async def test_parts_pass_through_unbuffered(single: Server, tmp_path: Path) -> None:
    """The server has the first half of a part before the client has sent the second."""
    token = TOKENS.issue(new_id("headset"), DeviceType.HEADSET)
    body = os.urandom(6 * 1024 * 1024)
    with caddy(tmp_path / "caddy", single) as front:
        async with (
            httpx.AsyncClient(
                base_url=front.url, headers={"Authorization": f"Bearer {token}"}, timeout=20
            ) as http,
            single.http() as direct,
        ):
            start = await http.post(
                "/chunked-upload/start",
                json={"timestamp": new_time(), "fileType": "video", "fileSize": len(body),
                      "fileName": "recording.mp4"},
            )  # fmt: skip
            begun = start.json()
            url = begun["presignedUrls"][0]["url"]
            assert url.startswith(front.url), "signed for another name"

            async def slowly() -> AsyncIterator[bytes]:
                before = await passed(direct)
                yield body[: len(body) // 2]

                async def halfway() -> bool:
                    return await passed(direct) - before >= len(body) // 2

                await until(halfway)
                yield body[len(body) // 2 :]

            put = await http.put(url, content=slowly(), headers={"Content-Length": str(len(body))})
            assert put.status_code == 200, put.text
            done = await http.post(
                "/chunked-upload/complete",
                json={"uploadId": begun["uploadId"], "s3Key": begun["s3Key"],
                      "parts": [{"partNumber": 1, "etag": put.headers["etag"]}]},
            )  # fmt: skip
            assert done.status_code == 200, done.text
    assert await stored(single, begun["s3Key"]) == body


async def passed(http: httpx.AsyncClient) -> float:
    text = (await http.get("/metrics")).text
    found = re.search(
        r'^turing_storage_passed_bytes_total\{direction="in"\} (\S+)', text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


async def test_our_client_uploads_through_caddy(single: Server, tmp_path: Path) -> None:
    file = tmp_path / "recording.mp4"
    file.write_bytes(os.urandom(11 * 1024 * 1024))
    token = TOKENS.issue(new_id("headset"), DeviceType.HEADSET)
    with caddy(tmp_path / "caddy", single) as front:
        async with UploadClient(front.url, token=token) as client:
            done = await client.upload(file, timestamp=new_time(), file_type=FileType.VIDEO)
    assert done.location.startswith(front.url)
    assert await stored(single, done.key) == file.read_bytes()


async def test_what_only_servers_ask_each_other_is_not_public(front: Server) -> None:
    async with httpx.AsyncClient(base_url=front.url) as http:
        for path in ("/metrics", "/ready"):
            answer = await http.get(path)
            assert answer.status_code == 404
            assert answer.json() == {"ok": False, "error": "Not found"}


async def test_no_server_is_a_clear_answer(tmp_path: Path, single: Server) -> None:
    nobody = Server(tmp_path / "never-started")
    with caddy(tmp_path / "caddy", nobody) as front:
        async with httpx.AsyncClient(base_url=front.url) as http:
            answer = await http.get("/api/devices", timeout=10)
    assert answer.status_code in (502, 503)
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["error"] == "No server is ready; try again shortly"
