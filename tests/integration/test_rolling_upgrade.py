"""A rolling upgrade: every server is replaced while sessions record, and operators notice nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import socketio
from cluster import nodes, store
from fronts import WAYS, caddy, doors
from lab import until
from support import TOKENS, Server, new_id

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound, Outbound

pytestmark = pytest.mark.asyncio


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Server]]:
    with (
        store(tmp_path / "store") as valkey,
        nodes(tmp_path, 3, valkey.url, TABLET_GRACE_SECONDS="60", DRAIN_SECONDS="2") as servers,
    ):
        yield servers


@pytest.fixture
def front(tmp_path: Path, three: list[Server]) -> Iterator[Server]:
    with caddy(tmp_path / "caddy", *three) as front:
        yield front


class Returning:
    """A device as it is in a lab: the official client, which connects again by itself."""

    def __init__(self, door: Server, kind: DeviceType) -> None:
        self.identity = new_id(kind.value)
        self.came: list[tuple[str, Any]] = []
        self._door = door
        self._kind = kind
        connector = aiohttp.TCPConnector(local_addr=(door.clients_at, 0))
        # Cookies of an address without a name, too: that is how Caddy knows a polling client again.
        jar = aiohttp.CookieJar(unsafe=True)
        self._http = aiohttp.ClientSession(connector=connector, cookie_jar=jar)
        self.socket = socketio.AsyncClient(
            http_session=self._http, reconnection_delay=0.2, reconnection_delay_max=0.5
        )
        self.socket.on("*", lambda name, *args: self.came.append((name, args[0] if args else None)))
        self.socket.on("connect", self._say_who)

    async def _say_who(self) -> None:
        if self._kind is DeviceType.HEADSET:
            await self.socket.emit("headset-identify", self.identity)
            await self.socket.emit("headset-recording-state", True)

    async def __aenter__(self) -> Self:
        token = TOKENS.issue(self.identity, self._kind)
        await self.socket.connect(
            self._door.url, auth={"token": token}, transports=self._door.transports, wait_timeout=20
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.disconnect()
        await self._http.close()

    def seen(self, event: Outbound) -> list[Any]:
        return [body for name, body in self.came if name == event.name]

    async def ask(self, event: Inbound, reply: Outbound, body: Any) -> Any:
        before = len(self.seen(reply))
        await self.socket.emit(event.name, body)
        await until(partial(has_seen, self, reply, more_than=before))
        return self.seen(reply)[before]


async def has_seen(client: Returning, event: Outbound, *, more_than: int = 0) -> bool:
    return len(client.seen(event)) > more_than


async def hears_of(operator: Returning, device_ids: list[str]) -> bool:
    """Whether the last list that this tablet got has these headsets."""
    lists = operator.seen(catalogue.ON_HEADSETS_UPDATED)
    return bool(lists) and set(device_ids) <= set(lists[-1])


async def is_complete(server: Server, session: str) -> bool:
    """Whether a session records, with all its headsets online and locked."""
    async with server.http(admin=True) as http:
        body = (await http.get(f"/api/sessions/{session}")).json()["session"]
    infos = [part["deviceInfo"] for part in body["deviceStatuses"]]
    return body["status"] == "recording" and all(
        info and info["isOnline"] and info["isLocked"] for info in infos
    )


@pytest.mark.timeout(300)
async def test_every_server_is_replaced_and_operators_notice_nothing(
    three: list[Server], front: Server
) -> None:
    """One after the other, each while sessions over all of them record, by every transport."""
    entries = [door for way in WAYS.values() for door in doors(front, 3, way)]
    async with AsyncExitStack() as stack:
        quests = [
            await stack.enter_async_context(Returning(door, DeviceType.HEADSET)) for door in entries
        ]
        operators = [
            await stack.enter_async_context(Returning(door, DeviceType.TABLET))
            for door in entries[:3]
        ]
        sessions = []
        for number, operator in enumerate(operators):
            # Each tablet leads headsets of all three doors.
            mine = [quest.identity for quest in quests[number * 3 : number * 3 + 3]]
            await until(partial(hears_of, operator, mine))
            made = await operator.ask(
                catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_CREATED, {"deviceIds": mine}
            )
            assert set(made["deviceIds"]) == set(mine)
            sessions.append(made["sessionId"])
            await operator.ask(
                catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, sessions[-1]
            )
        for server in three:
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        # Everybody is back where a server is, and nobody was told to stop.
        for session in sessions:
            await until(partial(is_complete, three[0], session), timeout_s=20)
        for client in (*quests, *operators):
            for event in (catalogue.ON_TABLET_STOP_RECORDING, catalogue.ON_SESSION_ENDED,
                          catalogue.ON_DEVICE_DISCONNECTED):  # fmt: skip
                assert client.seen(event) == [], (client.identity, event.name)
        for operator, session in zip(operators, sessions, strict=True):
            await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
        for quest in quests:
            await until(partial(has_seen, quest, catalogue.ON_SESSION_ENDED))
            assert len(quest.seen(catalogue.ON_TABLET_STOP_RECORDING)) == 1
