"""Pairing tablets by code, and shutting them out."""

import jwt
import pytest
import socketio
from support import ADMIN_KEY, JWT_SECRET, Server, headset, new_id, tablet

from quest_backend.protocol import catalogue

pytestmark = pytest.mark.asyncio


async def _pair(server: Server, name: str) -> dict[str, str]:
    async with server.http(admin=True) as http:
        offer = (await http.post("/api/tablets/pairings", json={"name": name})).json()
        paired: dict[str, str] = (
            await http.post("/auth/pair", json={"code": offer["code"]})
        ).json()
        return paired


async def test_a_code_pairs_one_tablet_once(server: Server) -> None:
    async with server.http(admin=True) as http:
        offer = (await http.post("/api/tablets/pairings", json={"name": "Bench A"})).json()
    typed = f" {offer['code'][:4].lower()}-{offer['code'][4:]} "
    async with server.http() as http:
        first = await http.post("/auth/pair", json={"code": typed})
        assert first.status_code == 200, first.text
        claims = jwt.decode(first.json()["token"], JWT_SECRET, algorithms=["HS256"])
        assert claims["deviceType"] == "tablet"
        assert claims["exp"] == first.json()["expiresAt"]
        assert first.json()["name"] == "Bench A"
        again = await http.post("/auth/pair", json={"code": typed})
        assert again.status_code == 403
        assert "ask for a new one" in again.json()["error"]


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "  "}, {"name": "x" * 61}, {"name": "a\n"}, {}]
)
async def test_a_bad_name_is_refused(server: Server, body: dict[str, str]) -> None:
    async with server.http(admin=True) as http:
        answer = await http.post("/api/tablets/pairings", json=body)
    # A trailing line break is only white space around the name.
    assert answer.status_code == (200 if body == {"name": "a\n"} else 400)


async def test_only_admins_pair_and_revoke(server: Server) -> None:
    async with server.http(new_id("tablet")) as http:
        assert (await http.post("/api/tablets/pairings", json={"name": "x"})).status_code == 403
        assert (await http.delete("/api/tablets/tablet_1")).status_code == 403
    async with server.http(admin=True) as http:
        unknown = await http.delete("/api/tablets/tablet_unknown")
        assert unknown.status_code == 404


async def test_a_refreshed_token_keeps_the_identity(server: Server) -> None:
    paired = await _pair(server, "Bench B")
    async with server.http() as http:
        http.headers["Authorization"] = f"Bearer {paired['token']}"
        fresh = (await http.post("/auth/refresh-token")).json()
        assert fresh["deviceId"] == paired["deviceId"]
        assert fresh["name"] == "Bench B"
        assert (await http.get("/api/tablets")).status_code == 200
    async with server.http() as http:
        http.headers["X-API-Key"] = ADMIN_KEY
        assert (await http.post("/auth/refresh-token")).status_code == 400


async def test_who_holds_a_lock_has_a_name(server: Server) -> None:
    paired = await _pair(server, "Bench C")
    async with (
        headset(server) as quest,
        tablet(server, paired["deviceId"], token=paired["token"]) as operator,
        server.http(admin=True) as http,
    ):
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        device = (await http.get(f"/api/devices/{quest.identity}")).json()["device"]
        rows = (await http.get("/api/tablets")).json()["tablets"]
    names = {row["socketId"]: row["name"] for row in rows if row["socketId"]}
    assert names[device["lockedByTabletId"]] == "Bench C"


async def test_a_revoked_tablet_is_out_at_once_and_for_good(server: Server) -> None:
    paired = await _pair(server, "Bench D")
    async with tablet(server, paired["deviceId"], token=paired["token"]) as operator:
        async with server.http(admin=True) as http:
            answer = await http.delete(f"/api/tablets/{paired['deviceId']}")
            assert answer.status_code == 200
            again = await http.delete(f"/api/tablets/{paired['deviceId']}")
            assert again.json() == answer.json()
        await operator.socket.wait()
        assert not operator.socket.connected
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with tablet(server, paired["deviceId"], token=paired["token"]):
            pass
    async with server.http() as http:
        http.headers["Authorization"] = f"Bearer {paired['token']}"
        assert (await http.post("/auth/refresh-token")).status_code == 401
        assert (await http.get("/api/devices")).status_code == 401
