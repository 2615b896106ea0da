"""Valkey that hangs or crashes: who changes something is told so at once, and nothing is lost."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cluster import TROUBLE, Store, is_recording, nodes, store
from lab import until
from support import ADMIN_KEY, Client, Server, headset, tablet
from uploading import new_time

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound

pytestmark = pytest.mark.asyncio

# What a client may wait for the answer that the store is down.
REFUSED_WITHIN_S = 2.0
STOPPED_WITHIN_S = 15.0


Lab = tuple[Store, Server]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with store(folder / "store") as valkey, nodes(folder, 1, valkey.url) as (server,):
        yield valkey, server


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    """A Valkey to be stopped, and a server that has found it again when the test is over."""
    valkey, server = shared
    yield shared
    valkey.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while httpx.get(f"{server.url}/ready", timeout=5).status_code != 200:
        assert time.monotonic() < deadline, "the server does not find Valkey again"
        time.sleep(0.1)


async def refusal_of_event(client: Client, event: Inbound, *args: Any) -> float:
    """How long it takes until ``client`` hears that the store is down; the ack says so, too."""
    client.forget()
    asked = time.monotonic()
    if event.ack:
        reply = await client.call(event, *args)
        assert reply["success"] is False
        assert "state store is down" in reply["error"]
    else:
        await client.send(event, *args)
    refusal = await client.gets(catalogue.ERROR)
    assert refusal["code"] == "UNAVAILABLE", (event.name, refusal)
    return time.monotonic() - asked


async def refusal_of_request(http: httpx.AsyncClient, method: str, path: str, **body: Any) -> float:
    asked = time.monotonic()
    answer = await http.request(method, path, **body)
    took = time.monotonic() - asked
    assert answer.status_code == 503, (path, answer.status_code, answer.text)
    assert answer.json() == {"ok": False, "error": "The state store is down; try again shortly"}
    assert answer.headers["retry-after"]
    return took


async def test_everything_that_changes_something_is_refused_in_time_while_valkey_hangs(
    lab: Lab,
) -> None:
    """Each request by a client of its own: none has the other's failure to go by."""
    valkey, server = lab
    async with AsyncExitStack() as stack:
        quest = await stack.enter_async_context(headset(server))
        operator = await stack.enter_async_context(tablet(server))
        name = quest.identity
        made = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [name]},
        )
        session = made["sessionId"]
        upload = await begun_upload(stack, server)
        events: list[tuple[Inbound, tuple[Any, ...]]] = [
            (catalogue.TABLET_LOCK_DEVICE, (name,)),
            (catalogue.TABLET_LOCK_DEVICES, ([name],)),
            (catalogue.TABLET_UNLOCK_DEVICE, (name,)),
            (catalogue.TABLET_UNLOCK_ALL_DEVICES, ()),
            (catalogue.TABLET_START_RECORDING, (name,)),
            (catalogue.TABLET_STOP_RECORDING, (name,)),
            (catalogue.TABLET_START_ALL_RECORDING, ()),
            (catalogue.TABLET_STOP_ALL_RECORDING, ()),
            (catalogue.TABLET_TOGGLE_RECORDING, (name,)),
            (catalogue.TABLET_TOGGLE_ALL_RECORDING, ()),
            (catalogue.TABLET_CREATE_SESSION, ({"deviceIds": [name]},)),
            (catalogue.TABLET_START_SESSION, (session,)),
            (catalogue.TABLET_PAUSE_SESSION, (session,)),
            (catalogue.TABLET_END_SESSION, (session,)),
            (catalogue.TABLET_SYNC_METADATA, ('{"task":"pour"}', name)),
            (catalogue.TABLET_CONNECT_HEADSET, (name,)),
            (catalogue.TABLET_DISCONNECT_HEADSET, (name,)),
        ]
        operators = [await stack.enter_async_context(tablet(server)) for _ in events]
        await operators[-1].ask(
            catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, name
        )
        newcomer = await stack.enter_async_context(Client(server, DeviceType.HEADSET))
        admin = await stack.enter_async_context(server.http(admin=True))
        when, parts = new_time(), [{"partNumber": 1, "etag": "a"}]
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", f"/api/devices/{name}/name", {"customName": "Bench"}),
            ("POST", f"/api/sessions/{session}/discard", {}),
            ("POST", "/api/tablets/pairings", {"name": "Bench"}),
            ("POST", "/auth/pair", {"code": "ABCDEFGH"}),
            ("DELETE", "/api/tablets/tablet_1234", {}),
            ("POST", "/chunked-upload/start",
             {"timestamp": when, "fileType": "video", "fileSize": 9, "fileName": "a.mp4"}),
            ("POST", "/chunked-upload/presign-part", {**upload, "partNumber": 1}),
            ("POST", "/chunked-upload/complete", {**upload, "parts": parts}),
            ("POST", "/chunked-upload/abort", upload),
            ("POST", "/api/qa-metrics/refresh", {}),
            ("POST", "/api/qa-metrics/cleanup", {}),
            ("PUT", "/api/qa-metrics/20260206_143052/review", {"decision": "accepted"}),
        ]  # fmt: skip

        valkey.signal(signal.SIGSTOP)
        asked: dict[str, Awaitable[float]] = {
            event.name: refusal_of_event(client, event, *args)
            for client, (event, args) in zip(operators, events, strict=True)
        }
        asked["headset-identify"] = refusal_of_event(
            newcomer, catalogue.HEADSET_IDENTIFY, newcomer.identity
        )
        asked["headset-recording-state"] = refusal_of_event(
            quest, catalogue.HEADSET_RECORDING_STATE, True
        )
        for method, path, body in requests:
            asked[f"{method} {path}"] = refusal_of_request(admin, method, path, json=body)
        asked["POST /upload-session"] = refusal_of_request(
            admin, "POST", "/upload-session", data={"timestamp": when},
            files={"video": b"v" * 1000, "data": b"d" * 1000},
        )  # fmt: skip
        took = await asyncio.gather(*asked.values(), return_exceptions=True)
        wrong = {
            what: seconds
            for what, seconds in zip(asked, took, strict=True)
            if not isinstance(seconds, float) or seconds > REFUSED_WITHIN_S
        }
        assert not wrong, wrong


async def test_requests_one_after_the_other_are_refused_in_time(lab: Lab) -> None:
    """Whenever one comes, before or after it is known that Valkey is away."""
    valkey, server = lab
    async with headset(server) as quest, server.http(admin=True) as http:
        path = f"/api/devices/{quest.identity}/name"
        valkey.signal(signal.SIGSTOP)
        took = []
        for number in range(8):
            took.append(await refusal_of_request(http, "POST", path, json={"customName": "A"}))
            await asyncio.sleep(0.13 * number)
        assert max(took) < REFUSED_WITHIN_S, took


async def begun_upload(stack: AsyncExitStack, server: Server) -> dict[str, str]:
    http = await stack.enter_async_context(server.http(admin=True))
    body = {"timestamp": new_time(), "fileType": "data", "fileSize": 9, "fileName": "a.npz"}
    started = (await http.post("/chunked-upload/start", json=body)).json()
    return {"uploadId": started["uploadId"], "s3Key": started["s3Key"]}


async def test_what_waits_behind_a_refused_event_is_refused_with_it(lab: Lab) -> None:
    """An operator who presses three times does not wait three times."""
    valkey, server = lab
    async with headset(server) as quest, tablet(server) as operator:
        valkey.signal(signal.SIGSTOP)
        for _ in range(2):  # the second time it is known that the store is away
            operator.forget()
            asked = time.monotonic()
            for _ in range(3):
                await operator.send(catalogue.TABLET_LOCK_DEVICE, quest.identity)

            async def refused() -> bool:
                return len(operator.seen(catalogue.ERROR)) == 3

            await until(refused)
            assert time.monotonic() - asked < REFUSED_WITHIN_S
            await asyncio.sleep(0.5)
        valkey.signal(signal.SIGCONT)
        operator.forget()
        back = time.monotonic()
        while not operator.seen(catalogue.ON_DEVICE_LOCKED):
            await operator.send(catalogue.TABLET_LOCK_DEVICE, quest.identity)
            await asyncio.sleep(0.05)
            assert time.monotonic() - back < 5


def embedded_valkey(server: Server) -> psutil.Process:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    (valkey,) = [child for child in children if "valkey.sock" in " ".join(child.cmdline())]
    return valkey


async def test_an_embedded_valkey_that_crashes_comes_back_with_everything_in_it(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, TABLET_GRACE_SECONDS="20").start()
    async with (
        headset(server) as quest,
        tablet(server) as operator,
        server.http(admin=True) as http,
    ):
        made = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity]},
        )
        await operator.ask(
            catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, made["sessionId"]
        )
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await operator.gets(catalogue.ON_DEVICE_RECORDING_CHANGED, is_recording(quest.identity))
        await http.post(f"/api/devices/{quest.identity}/name", json={"customName": "Bench"})
        # What was said is on disk within a second (appendfsync everysec).
        await asyncio.sleep(1.2)
        before = embedded_valkey(server)
        before.kill()

        async def is_back() -> bool:
            health = await http.get("/health")
            return (
                health.status_code == 200 and "embedded_store_restarted" in server.log.read_text()
            )

        await until(is_back, timeout_s=20)
        assert embedded_valkey(server).pid != before.pid
        # Nobody was sent away, nobody was told to stop, and the session is where it was.
        assert quest.seen(catalogue.ON_TABLET_STOP_RECORDING) == []
        session = (await http.get(f"/api/sessions/{made['sessionId']}")).json()["session"]
        assert session["status"] == "recording"
        assert session["deviceStatuses"][0]["isRecording"]
        device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
        assert (device["customName"], device["isLocked"], device["isOnline"]) == (
            "Bench",
            True,
            True,
        )
        await operator.ask(
            catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, made["sessionId"]
        )
        await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
    server.stop()
    log = server.log.read_text()
    assert not [trouble for trouble in TROUBLE if trouble in log], log


async def test_a_server_stops_within_15_s_though_valkey_hangs_and_an_upload_does_not_end(
    tmp_path: Path,
) -> None:
    """With the settings as they are by default, and clients to send away."""
    with store(tmp_path / "store") as valkey, nodes(tmp_path, 1, valkey.url) as (server,):
        async with AsyncExitStack() as stack:
            quest = await stack.enter_async_context(headset(server))
            for _ in range(20):
                await stack.enter_async_context(tablet(server))
            writer = await endless_upload(server)
            valkey.signal(signal.SIGSTOP)
            await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.5})
            await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
            assert server.process is not None
            server.process.terminate()
            code = await asyncio.to_thread(server.process.wait, STOPPED_WITHIN_S)
            assert code == -signal.SIGTERM
            writer.close()
        valkey.signal(signal.SIGCONT)
    # ``nodes`` looks for tracebacks in the log.


async def endless_upload(server: Server) -> asyncio.StreamWriter:
    """A form whose video has begun to come, and comes no further."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = [
        "POST /upload-session HTTP/1.1", "Host: lab", f"X-API-Key: {ADMIN_KEY}",
        "Content-Type: multipart/form-data; boundary=b", "Content-Length: 99000000", "",
        "--b", 'Content-Disposition: form-data; name="timestamp"', "", new_time(),
        "--b", 'Content-Disposition: form-data; name="video"; filename="f"', "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(lines).encode() + bytes(6 * 1024 * 1024))
    await writer.drain()
    async with server.http(admin=True) as http:

        async def begun() -> bool:
            return "\nturing_uploads_in_progress 1.0" in (await http.get("/metrics")).text

        await until(begun)
    return writer
