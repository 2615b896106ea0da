"""The server is killed in the middle of a session, and nothing is lost."""

import asyncio
from pathlib import Path

import pytest
from support import Server, headset, tablet

from quest_backend.protocol import catalogue

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_session_survives_the_servers_end(tmp_path: Path, end: str) -> None:
    server = Server(tmp_path, TABLET_GRACE_SECONDS="20").start()
    async with headset(server) as quest, tablet(server) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity], "metadata": {"study": "S"}},
        )
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await quest.send(catalogue.DEVICE_TELEMETRY, {"batteryLevel": 0.5})
        await quest.settled()
        async with server.http(operator.identity) as http:
            await http.post(f"/api/devices/{quest.identity}/name", json={"customName": "Bench"})
            # What was said is on disk within a second (appendfsync everysec).
            await asyncio.sleep(1.2)
        if end == "kill":
            server.kill()
        else:
            server.stop()
    server.start()
    async with server.http(operator.identity) as http:
        device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
        assert device["customName"] == "Bench"
        assert device["isLocked"]
        assert not device["isOnline"]
        history = (await http.get(f"/api/devices/{quest.identity}/history")).json()
        assert history["count"] == 1
    async with (
        tablet(server, operator.identity) as back,
        headset(server, quest.identity) as again,
    ):
        active = await back.ask(catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION)
        assert active == {
            "sessionId": session,
            "status": "recording",
            "deviceIds": [quest.identity],
        }
        await again.send(catalogue.HEADSET_RECORDING_STATE, True)
        await again.send(catalogue.HEADSET_FRAME, "AAAA")
        await back.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
        ended = await back.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
        assert ended["sessionId"] == session
        await again.gets(catalogue.ON_TABLET_STOP_RECORDING)
        await again.gets(catalogue.ON_SESSION_ENDED)
    server.stop()


async def test_nobody_comes_back(tmp_path: Path) -> None:
    server = Server(tmp_path, TABLET_GRACE_SECONDS="1").start()
    async with headset(server) as quest, tablet(server) as operator:
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        server.kill()
    server.start()
    async with headset(server, quest.identity) as back, tablet(server) as other:
        await other.gets(
            catalogue.ON_DEVICE_LOCKS_UPDATED,
            lambda rows: {"deviceId": back.identity, "isLocked": False} in rows,
            timeout_s=10,
        )
        await other.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, back.identity)
    server.stop()


async def test_a_second_server_on_the_same_port_says_so(tmp_path: Path) -> None:
    first = Server(tmp_path / "a").start()
    second = Server(tmp_path / "b")
    second.port = first.port
    assert second.spawn().wait(20) == 1
    assert "is in use" in second.log.read_text()
    first.stop()


async def test_a_second_server_on_the_same_data_says_so(tmp_path: Path) -> None:
    first = Server(tmp_path).start()
    second = Server(tmp_path)
    second.log = tmp_path / "second.log"
    assert second.spawn().wait(30) == 3
    text = second.log.read_text()
    assert "The server did not start: data directory" in text
    assert "Traceback" not in text
    first.stop()


async def test_an_unreachable_store_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    assert server.spawn().wait(30) == 3
    assert "The server did not start: the state store does not answer" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


async def test_the_server_runs_on_redis_7(tmp_path: Path, redis7_url: str) -> None:
    server = Server(tmp_path, REDIS_URL=redis7_url).start()
    async with headset(server) as quest, tablet(server) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity]},
        )
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
    assert not (tmp_path / "valkey").exists()
    server.stop()
