"""The audit trail, and discarding a session."""

import csv
import io
from typing import Any

import httpx
import pytest
from support import Client, Server, headset, new_id, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio


async def _found(http: httpx.AsyncClient, search: str, count: int) -> list[dict[str, Any]]:
    """Entries that match, newest first: what was answered is there at once."""
    page = (await http.get("/api/audit", params={"search": search})).json()
    rows: list[dict[str, Any]] = page["entries"]
    assert len(rows) >= count
    return rows


async def _session(operator: Client, quest: Client) -> str:
    created = await operator.ask(
        catalogue.TABLET_CREATE_SESSION,
        catalogue.ON_SESSION_CREATED,
        {"deviceIds": [quest.identity]},
    )
    return str(created["sessionId"])


async def test_who_did_what_is_found(server: Server) -> None:
    async with (
        headset(server) as quest,
        tablet(server) as operator,
        server.http(admin=True) as admin,
    ):
        device = quest.identity
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, device)
        # Again is success, and nothing new.
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, device)
        session_id = await _session(operator, quest)
        for event, reply in (
            (catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED),
            (catalogue.TABLET_PAUSE_SESSION, catalogue.ON_SESSION_PAUSED),
            (catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED),
        ):
            await operator.ask(event, reply, session_id)
        await admin.post(f"/api/devices/{device}/name", json={"customName": "=SUM(A1)"})
        await operator.ask(catalogue.TABLET_UNLOCK_DEVICE, catalogue.ON_DEVICE_UNLOCKED, device)

        rows = await _found(admin, device, 4)
        told = [(row["actor"], row["action"]) for row in reversed(rows)]
        assert told == [
            (operator.identity, "lock"),
            (operator.identity, "session.create"),
            ("admin", "rename"),
            (operator.identity, "unlock"),
        ]
        steps = [row["action"] for row in reversed(await _found(admin, session_id, 4))]
        assert steps == ["session.create", "session.start", "session.pause", "session.end"]
        both = await _found(admin, f"{operator.identity} UNLOCK", 1)
        assert [row["action"] for row in both] == ["unlock"]

        text = (await admin.get("/api/audit.csv", params={"search": device})).text
        table = list(csv.DictReader(io.StringIO(text)))
        assert [row["action"] for row in reversed(table)] == [action for _, action in told]
        # A spreadsheet must not run what somebody called a headset.
        assert "'=SUM(A1)" in [row["detail"] for row in table]


async def test_pages_follow_each_other(server: Server) -> None:
    async with (
        headset(server) as quest,
        tablet(server) as operator,
        server.http(admin=True) as http,
    ):
        await operator.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        await operator.ask(
            catalogue.TABLET_UNLOCK_DEVICE, catalogue.ON_DEVICE_UNLOCKED, quest.identity
        )
        whole = await _found(http, quest.identity, 2)
        paged: list[dict[str, Any]] = []
        before = ""
        while len(paged) < 2:
            page = (
                await http.get(
                    "/api/audit",
                    params={"search": quest.identity, "limit": 1, "before": before},
                )
            ).json()
            paged += page["entries"]
            if page["next"] is None:
                break
            before = page["next"]
        assert paged == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=x", "before=1-2-3"])
async def test_bad_questions_are_refused(server: Server, query: str) -> None:
    async with server.http(admin=True) as http:
        assert (await http.get(f"/api/audit?{query}")).status_code == 400


async def test_only_admins_read_it(server: Server) -> None:
    async with server.http(new_id("tablet")) as http:
        assert (await http.get("/api/audit")).status_code == 403
        assert (await http.get("/api/audit.csv")).status_code == 403


async def test_a_session_is_discarded_by_its_tablet_when_it_is_over(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as operator:
        session_id = await _session(operator, quest)
        path = f"/api/sessions/{session_id}/discard"
        async with server.http(operator.identity) as mine:
            early = await mine.post(path)
            assert early.status_code == 409
            assert "end it first" in early.json()["error"]
            await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session_id)
            first = await mine.post(path)
            assert first.status_code == 200
            assert (await mine.post(path)).json() == first.json()
            shown = (await mine.get(f"/api/sessions/{session_id}")).json()["session"]
            assert shown["discardedAt"] == first.json()["discardedAt"]
            own = await mine.get("/api/sessions", params={"deviceId": quest.identity})
            assert [row["sessionId"] for row in own.json()["sessions"]] == [session_id]
            assert own.json()["sessions"][0]["discardedAt"]
        async with server.http(new_id("tablet")) as other:
            assert (await other.post(path)).status_code == 403
        async with server.http(new_id("headset"), DeviceType.HEADSET) as wrong:
            assert (await wrong.post(path)).status_code == 403
        async with server.http(admin=True) as admin:
            assert (await admin.post("/api/sessions/none/discard")).status_code == 404
