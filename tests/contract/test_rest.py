"""REST: tokens, roles, devices, errors."""

import asyncio
import time

import jwt
import pytest
from support import JWT_SECRET, Server, headset, new_id, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio


async def test_device_token_is_a_24_hour_jwt(server: Server) -> None:
    async with server.http() as http:
        body = {"deviceId": "QUEST_0001", "deviceType": "headset"}
        reply = (await http.post("/auth/device-token", json=body)).json()
        claims = jwt.decode(reply["token"], JWT_SECRET, algorithms=["HS256"])
        assert reply["ok"]
        assert reply["expiresIn"] == "24h"
        assert claims["deviceId"] == "QUEST_0001"
        assert claims["exp"] - claims["iat"] == 24 * 3600
        verified = await http.post("/auth/verify-token", json={"token": reply["token"]})
        assert verified.json() == {
            "ok": True,
            "valid": True,
            "deviceId": "QUEST_0001",
            "deviceType": "headset",
        }


@pytest.mark.parametrize(
    "body",
    [
        {"deviceId": "short", "deviceType": "headset"},
        {"deviceId": "x" * 65, "deviceType": "headset"},
        {"deviceId": "has space 1", "deviceType": "headset"},
        {"deviceId": "QUEST_0001\n", "deviceType": "headset"},
        {"deviceId": "QUEST_0001", "deviceType": "toaster"},
        {"deviceId": 12345678, "deviceType": "headset"},
        {"deviceId": "QUEST_0001"},
        [],
        None,
    ],
)
async def test_bad_token_requests_are_400_with_one_sentence(server: Server, body: object) -> None:
    async with server.http() as http:
        reply = await http.post("/auth/device-token", json=body)
        assert reply.status_code == 400
        assert reply.json()["ok"] is False
        assert isinstance(reply.json()["error"], str)


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
async def test_other_algorithms_and_expired_tokens_are_invalid(
    server: Server, algorithm: str
) -> None:
    now = int(time.time())
    claims = {"deviceId": "QUEST_0001", "deviceType": "tablet", "iat": now, "exp": now + 60}
    key = "" if algorithm == "none" else JWT_SECRET.ljust(64, "x")
    forged = jwt.encode(claims, key or None, algorithm=algorithm)
    expired = jwt.encode({**claims, "exp": now - 1}, JWT_SECRET, algorithm="HS256")
    async with server.http() as http:
        for token in (forged, expired, "garbage", "x.y.z"):
            reply = await http.post("/auth/verify-token", json={"token": token})
            assert reply.json()["valid"] is False
            reply = await http.get("/api/devices", headers={"Authorization": f"Bearer {token}"})
            assert reply.status_code == 401


async def test_generate_token_is_for_admins(server: Server) -> None:
    body = {"deviceId": "QUEST_0002", "deviceType": "dashboard"}
    async with server.http() as http:
        assert (await http.post("/auth/generate-token", json=body)).status_code == 401
        wrong = await http.post("/auth/generate-token", json=body, headers={"X-API-Key": "no"})
        assert wrong.status_code == 403
    async with server.http("QUEST_0003") as http:
        assert (await http.post("/auth/generate-token", json=body)).status_code == 403
    async with server.http(admin=True) as http:
        assert (await http.post("/auth/generate-token", json=body)).json()["ok"]
        assert (await http.get("/api/devices")).status_code == 200


async def test_errors_have_one_form(server: Server) -> None:
    async with server.http("QUEST_0003") as http:
        for path, status in (
            ("/nowhere", 404),
            ("/api/devices/NOBODY", 404),
            ("/api/sessions/none", 404),
        ):
            reply = await http.get(path)
            assert reply.status_code == status
            assert reply.json()["ok"] is False
        assert (await http.get("/api/devices/NOBODY")).json()["error"] == "Device not found"
        assert (await http.get("/api/sessions/none")).json()["error"] == "Session not found"
        assert (await http.put("/test")).status_code == 405
        big = await http.post("/auth/verify-token", content=b"x" * 3_000_000)
        assert big.status_code == 413


async def test_security_headers_and_cors(server: Server) -> None:
    async with server.http() as http:
        reply = await http.get("/test", headers={"Origin": "https://lab.example"})
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"]
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "server" not in reply.headers


async def test_device_name_is_shown_everywhere_from_then_on(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as operator:
        await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.5, "deviceName": "Q"})
        async with server.http(operator.identity) as http:
            path = f"/api/devices/{quest.identity}/name"
            reply = await http.post(path, json={"customName": " Bench 3 "})
            assert reply.json() == {"ok": True, "customName": "Bench 3"}
            await operator.gets(
                catalogue.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED,
                lambda rows: {"deviceId": quest.identity, "isLocked": False,
                              "customName": "Bench 3"} in rows,
            )  # fmt: skip
            device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
            assert device["telemetry"]["customName"] == "Bench 3"
            too_long = await http.post(path, json={"customName": "x" * 101})
            assert too_long.status_code == 400
            nobody = await http.post("/api/devices/NOBODY/name", json={"customName": "x"})
            assert nobody.status_code == 404
        async with server.http(quest.identity, DeviceType.HEADSET) as http:
            assert (await http.post(path, json={"customName": "x"})).status_code == 403


async def test_history_has_its_first_sample_at_once(server: Server) -> None:
    async with headset(server) as quest:
        for level in (0.9, 0.8):
            await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": level})
        await quest.settled()
        async with server.http("QUEST_0003") as http:
            reply = (await http.get(f"/api/devices/{quest.identity}/history")).json()
        assert reply["count"] == 1
        assert reply["history"][0]["batteryLevel"] == 0.9


async def test_summary_counts_the_fleet(server: Server) -> None:
    async with headset(server) as low, headset(server) as full, server.http("QUEST_0003") as http:
        before = (await http.get("/api/fleet/summary")).json()["summary"]
        await low.send(
            catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.2, "isRecording": True,
                                         "appVersion": "9.9.9"}
        )  # fmt: skip
        await full.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.25})
        await low.settled()
        await full.settled()
        after = (await http.get("/api/fleet/summary")).json()["summary"]
    assert after["lowBatteryDevices"] == before["lowBatteryDevices"] + 1
    assert after["recordingDevices"] == before["recordingDevices"] + 1
    assert after["onlineDevices"] >= 2
    assert "9.9.9" in after["appVersions"]


async def test_operations(server: Server) -> None:
    async with server.http() as http:
        health = (await http.get("/health")).json()
        assert health["ok"]
        assert health["memoryUsage"]["rss"] > 0
        assert health["dependencies"]["valkey"]["ok"]
        assert (await http.get("/test")).json()["ok"]
        metrics = (await http.get("/metrics")).text
        for name in (
            'turing_connected_devices_total{type="headset"}',
            "turing_locked_devices_total",
            "turing_recording_devices_total",
            "turing_sessions_active_total",
            "turing_sessions_created_total",
            "turing_session_duration_seconds_bucket",
            "turing_upload_duration_seconds",
            "turing_uploads_in_progress",
            "turing_frame_batch_size_bucket",
            "turing_frames_dropped_total",
            "turing_low_battery_devices_total",
            "turing_dashboard_subscribers_total",
            "turing_http_requests_total{",
            "process_resident_memory_bytes",
        ):
            assert name in metrics, name
        assert (await http.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
        assert (await http.get("/openapi.json")).json()["info"]["title"] == "Quest VR Backend"
        assert (await http.get("/docs")).status_code == 200


async def test_battery_gauge_is_percent(server: Server) -> None:
    async with headset(server) as quest, server.http() as http:
        await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.42})
        await quest.settled()
        text = (await http.get("/metrics")).text
        assert f'turing_fleet_battery_level{{device_id="{quest.identity}"}} 42.0' in text


async def test_many_requests_at_once(server: Server) -> None:
    async with server.http(new_id("tablet")) as http:
        replies = await asyncio.gather(*(http.get("/api/sessions") for _ in range(50)))
    assert {reply.status_code for reply in replies} == {200}


async def test_ready_is_asked_as_often_as_one_likes(server: Server) -> None:
    async with server.http() as http:
        answers = [await http.get("/ready") for _ in range(80)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == {"ok": True}
