"""Sockets: who gets in, who may do what, what malformed packets do."""

import asyncio
import json
import os
import random
import re

import pytest
import socketio
from support import TOKENS, Client, Server, dashboard, headset, new_id, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("token", ["", "garbage", None, 7, {"a": 1}])
async def test_no_valid_token_no_connection(server: Server, token: object) -> None:
    client = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(server.url, auth={"token": token}, transports=["websocket"])


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_every_transport(server: Server, transports: list[str]) -> None:
    async with (
        headset(server, transports=transports) as quest,
        tablet(server, transports=transports) as operator,
    ):
        locked = await operator.ask(
            catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity
        )
        assert locked == {"deviceId": quest.identity}
        await quest.send(catalogue.HEADSET_FRAME, "/9j/AAAA")
        assert await operator.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == "/9j/AAAA"


async def test_old_clients_send_the_token_as_query(server: Server) -> None:
    async with tablet(server, query=True) as operator:
        assert await operator.gets(catalogue.ON_HEADSETS_UPDATED) is not None


async def test_roles_are_kept_apart(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as operator, dashboard(server) as desk:
        for client, event, args in (
            (quest, catalogue.TABLET_LOCK_DEVICE, [quest.identity]),
            (quest, catalogue.DASHBOARD_SUBSCRIBE, []),
            (operator, catalogue.HEADSET_FRAME, ["x"]),
            (desk, catalogue.TABLET_LOCK_DEVICE, [quest.identity]),
            (desk, catalogue.DEVICE_TELEMETRY, [{}]),
        ):
            error = await client.ask(event, catalogue.ERROR, *args)
            assert error["code"] == "FORBIDDEN"
        snapshot = await operator.ask(
            catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED
        )
        row = next(row for row in snapshot if row["deviceId"] == quest.identity)
        assert not row["isLocked"]


async def test_a_headset_speaks_only_for_itself(server: Server) -> None:
    async with Client(server, DeviceType.HEADSET) as quest:
        error = await quest.ask(catalogue.HEADSET_FRAME, catalogue.ERROR, "abc")
        assert error["code"] == "NOT_IDENTIFIED"
        error = await quest.ask(catalogue.HEADSET_IDENTIFY, catalogue.ERROR, "SOMEBODY_ELSE")
        assert error["code"] == "DEVICE_ID_MISMATCH"
        error = await quest.ask(catalogue.HEADSET_IDENTIFY, catalogue.ERROR, "bad id!")
        assert error["code"] == "INVALID_DEVICE_ID"
        await quest.ask(catalogue.HEADSET_IDENTIFY, catalogue.ON_HEADSET_CONNECTED, quest.identity)
        error = await quest.ask(
            catalogue.DEVICE_TELEMETRY, catalogue.ERROR, {"deviceId": "SOMEBODY_ELSE"}
        )
        assert error["code"] == "DEVICE_ID_MISMATCH"


@pytest.mark.parametrize(
    ("event", "payload", "code"),
    [
        (catalogue.HEADSET_FRAME, 5, "INVALID_FRAME_DATA"),
        (catalogue.HEADSET_FRAME, "", "INVALID_FRAME_DATA"),
        (catalogue.HEADSET_FRAME, "x" * (1024 * 1024 + 1), "INVALID_FRAME_DATA"),
        (catalogue.HEADSET_STATUS, {"a": 1}, "INVALID_STATUS_DATA"),
        (catalogue.HEADSET_STATUS, "x" * 10241, "INVALID_STATUS_DATA"),
        (catalogue.HEADSET_STATUS, "ü" * 5121, "INVALID_STATUS_DATA"),
        (catalogue.DEVICE_TELEMETRY, {"batteryLevel": 1.01}, "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, {"wifiSignalLevel": 1}, "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, {"isRecording": "yes"}, "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, "{not json", "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, '{"big": 1' + "0" * 60 + "}", "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, "[" * 5000, "INVALID_TELEMETRY"),
        (catalogue.DEVICE_TELEMETRY, {"x": "y" * 70_000}, "INVALID_TELEMETRY"),
        (catalogue.HEADSET_RECORDING_STATE, "true", "INVALID_INPUT"),
    ],
)
async def test_bad_payloads_change_nothing(
    server: Server, event: Inbound, payload: object, code: str
) -> None:
    async with headset(server) as quest, server.http("QUEST_0003") as http:
        error = await quest.ask(event, catalogue.ERROR, payload)
        assert error["code"] == code
        device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
        assert device["telemetry"] is None
        assert device["isOnline"]
        assert not device["isRecording"]


@pytest.mark.parametrize("encode", [dict, json.dumps, lambda t: json.dumps(json.dumps(t))])
async def test_telemetry_in_three_encodings(server: Server, encode: object) -> None:
    assert callable(encode)
    async with headset(server) as quest, server.http("QUEST_0003") as http:
        await quest.send(catalogue.DEVICE_TELEMETRY, encode({"batteryLevel": 0.5, "extra": [1]}))
        await quest.settled()
        device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
        assert device["telemetry"]["batteryLevel"] == 0.5
        assert device["telemetry"]["extra"] == [1]


async def test_a_newer_connection_takes_over(server: Server) -> None:
    """A late disconnect of the old connection leaves the new one online."""
    async with dashboard(server) as desk, headset(server) as old:
        await desk.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        async with headset(server, old.identity) as new:
            assert (await old.gets(catalogue.ERROR))["code"] == "REPLACED"
            await old.socket.disconnect()
            await new.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.7})
            row = await desk.gets(
                catalogue.ON_DEVICE_TELEMETRY_UPDATED,
                lambda row: row["deviceId"] == new.identity and row["telemetry"] is not None,
            )
            assert row["isOnline"]
            assert row["socketId"] == new.sid


async def test_rate_limits_drop_and_say_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    strict = Server(tmp_path_factory.mktemp("strict"), RATE_LIMIT_MULTIPLIER="1").start()
    try:
        async with headset(strict) as quest, tablet(strict) as operator:
            acks = [
                await operator.call(catalogue.TABLET_START_RECORDING, quest.identity)
                for _ in range(7)
            ]
            assert [ack["success"] for ack in acks] == [True] * 5 + [False] * 2
            assert acks[-1]["error"] == "Rate limited"
        async with strict.http() as http:
            replies = [
                await http.post("/auth/verify-token", json={"token": "x"}) for _ in range(21)
            ]
            assert [reply.status_code for reply in replies] == [200] * 20 + [429]
            assert int(replies[-1].headers["retry-after"]) == replies[-1].json()["retryAfter"]
    finally:
        strict.stop()


async def test_unauthenticated_tablets_where_allowed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lenient = Server(tmp_path_factory.mktemp("lenient"), SOCKET_AUTH="optional",
                     ENROLLMENT_KEY="let me in").start()  # fmt: skip
    try:
        async with headset(lenient) as quest, Client(lenient, DeviceType.TABLET, token="no") as one:
            await one.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
            error = await one.ask(catalogue.HEADSET_FRAME, catalogue.ERROR, "x")
            assert error["code"] == "FORBIDDEN"
        async with lenient.http() as http:
            body = {"deviceId": "QUEST_0001", "deviceType": "headset"}
            assert (await http.post("/auth/device-token", json=body)).status_code == 401
            key = {"X-Enrollment-Key": "let me in"}
            assert (await http.post("/auth/device-token", json=body, headers=key)).is_success
    finally:
        lenient.stop()


# `FUZZ_PACKETS=100000 pytest -k fuzz` for a long run.
FUZZ_PACKETS = int(os.environ.get("FUZZ_PACKETS", "4000"))


async def tasks_of(server: Server) -> int:
    async with server.http() as http:
        text = (await http.get("/metrics")).text
    found = re.search(r"^turing_event_loop_tasks (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def mutated_packets(seed: int, count: int) -> list[str | bytes]:
    """Random and mutated packets of every kind."""
    source = random.Random(seed)
    good = [f'42["{name}","x"]' for name in catalogue.INBOUND]
    good += ['42["device-telemetry",{"batteryLevel":0.5}]', "2", "3", '421["a"]', "40", "43[1]",
             '451-["headset-frame",{"_placeholder":true,"num":0}]', "4", "42", '42["disconnect"]', '42["connect",{}]',
             '42["tablet-create-session",{"deviceIds":[null]}]', "5", "6", "0", "9", "b4AAA", "", "40/other,", "44{}", "462-[]",
             '4599999999-["x"]', "42[[]]", "42{}",
             '42["tablet-create-session",' + "[" * 3000 + "]", '42["headset-frame","\\ud800"]']  # fmt: skip
    packets: list[str | bytes] = []
    for _ in range(count):
        packet = source.choice(good)
        for _ in range(source.randrange(4)):
            at = source.randrange(len(packet) + 1)
            cut = at + source.randrange(3)
            packet = (
                packet[:at]
                + chr(source.choice([34, 91, 93, 123, 0, 233, 0x661, 55, 92]))
                + (packet[cut:])
            )
        # '1' and '41' are goodbyes, which end a connection rightly.
        if packet.startswith(("1", "41")):
            packet = "2" + packet
        packets.append(packet.encode() if source.random() < 0.03 else packet)
    return packets


@pytest.mark.parametrize("kind", list(DeviceType))
async def test_fuzzed_packets_never_disconnect_or_disturb(server: Server, kind: DeviceType) -> None:
    import aiohttp

    async with headset(server) as quest, tablet(server) as operator:
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        tasks = await tasks_of(server)
        token = TOKENS.issue(new_id("fuzz"), kind)
        ws_url = server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as http, http.ws_connect(ws_url) as ws:
            await ws.receive_str()
            await ws.send_str("40" + json.dumps({"token": token}))
            sink = asyncio.get_running_loop().create_task(_drain(ws))
            for index, packet in enumerate(mutated_packets(7, FUZZ_PACKETS)):
                if isinstance(packet, bytes):
                    await ws.send_bytes(packet)
                else:
                    await ws.send_str(packet)
                if index % 100 == 0:
                    await asyncio.sleep(0)
            marker = '42777["no-such-event"]'
            await ws.send_str(marker)
            async with asyncio.timeout(20 + FUZZ_PACKETS / 500):
                texts = await sink
            assert not ws.closed
            assert any('"code":"INVALID_INPUT"' in text for text in texts)
        status = await operator.call(catalogue.TABLET_START_RECORDING, quest.identity)
        assert status["success"]
        async with asyncio.timeout(10):
            while await tasks_of(server) > tasks + 2:  # noqa: ASYNC110 - of the server
                await asyncio.sleep(0.2)
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)


async def _drain(ws: object) -> list[str]:
    import aiohttp

    assert isinstance(ws, aiohttp.ClientWebSocketResponse)
    texts: list[str] = []
    while True:
        message = await ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        texts.append(message.data)
        if message.data == "2":
            await ws.send_str("3")
        if message.data.startswith("43777"):
            return texts


async def test_the_server_survives_garbage_over_polling(server: Server) -> None:
    async with server.http() as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        sid = json.loads(opened.text[1:])["sid"]
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        for body in (b"", b"\xff\xfe", b"4" * 100, b"x", b"42[\x1e42", b"b!!"):
            await http.post(path, content=body, headers={"content-type": "text/plain"})
        assert (await http.get("/health")).status_code == 200
