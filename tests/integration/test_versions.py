"""An older and a newer server side by side, as during a rolling upgrade."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster import TROUBLE, Store, frames_until, is_recording, nodes, store
from lab import until
from support import Client, Server, headset, tablet

import quest_backend
from quest_backend.protocol import catalogue
from quest_backend.state import versions

pytestmark = pytest.mark.asyncio

# What a later version does more than this one: a field in every device, session, and message, a kind
# of message that this one does not know, and one that only versions from 2 on may act on.
LATER = [
    ("state/lua/common.lua", "redis.call('HSET', key, 'deviceId', id,",
     "redis.call('HSET', key, 'colour', 'blue', 'deviceId', id,"),
    ("state/lua/common.lua", "message.v, message.n = version, a.origin or ''",
     "message.v, message.n, message.colour = version, a.origin or '', 'blue'"),
    ("state/lua/common.lua", "local function announce()\n",
     "local function announce()\n  tell({k = 'paint', colour = 'blue'})\n"),
    ("state/lua/create_session.lua", "'sessionId', a.session,",
     "'colour', 'blue', 'sessionId', a.session,"),
    ("realtime/liveness.py", 'await hub.changes.announce({"k": "hello"})',
     'await hub.changes.announce({"k": "hello"})\n'
     '        await hub.changes.announce({"v": 2, "k": "gone", "all": True})'),
    ("realtime/relay.py", "payload = _EVENT + orjson.dumps([event.name, *args])",
     "payload = _EVENT + orjson.dumps([event.name, *args])\n"
     '            self._bus.message(_FRAMES + b":" + device_id.encode(), b"Zof a later version")\n'
     '            self._bus.newest(_FRAMES + b":" + device_id.encode(), b"\\x1e" + bytes(40))'),
]  # fmt: skip


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's package as a later version might be."""
    folder = tmp_path_factory.mktemp("later")
    package = folder / "quest_backend"
    shutil.copytree(Path(quest_backend.__file__).parent, package)
    for name, old, new in LATER:
        text = (package / name).read_text()
        assert text.count(old) == 1, (name, old)
        (package / name).write_text(text.replace(old, new))
    return folder


class Mixed:
    """A server of this version and one of a later, on one Valkey."""

    def __init__(self, old: Server, new: Server, valkey: Store) -> None:
        self.old = old
        self.new = new
        self.valkey = redis.Redis.from_url(valkey.url, decode_responses=True)

    def colour(self, key: str) -> Any:
        return self.valkey.hget(key, "colour")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, later: Path) -> Iterator[Mixed]:
    folder = tmp_path_factory.mktemp("mixed")
    with store(folder / "store") as valkey:
        new = Server(
            folder / "new", REDIS_URL=valkey.url, NODE_TIMEOUT_SECONDS="2", PYTHONPATH=str(later)
        )
        new.spawn()
        try:
            with nodes(folder, 1, valkey.url) as (old,):
                yield Mixed(old, new.wait(), valkey)
        finally:
            new.stop()
        log = new.log.read_text()
        assert not [trouble for trouble in TROUBLE if trouble in log], log


@pytest.mark.parametrize("turn", ["older leads", "newer leads"])
async def test_an_older_and_a_newer_server_are_one_fleet(mixed: Mixed, turn: str) -> None:
    lead, other = (mixed.old, mixed.new) if turn == "older leads" else (mixed.new, mixed.old)
    async with headset(other) as quest, tablet(lead) as operator, tablet(other) as viewer:
        name = quest.identity
        for client in (operator, viewer):
            await client.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: name in ids)
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION, catalogue.ON_SESSION_CREATED, {"deviceIds": [name]}
        )
        session = created["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session)
        await quest.gets(catalogue.ON_TABLET_START_RECORDING)
        await quest.send(catalogue.HEADSET_RECORDING_STATE, True)
        await operator.gets(catalogue.ON_DEVICE_RECORDING_CHANGED, is_recording(name))
        await quest.send(catalogue.HEADSET_STATUS, '{"mode":"idle"}')
        await frames_until(quest, operator)
        # The tablet goes on at the other server.
        await operator.cut()
        async with tablet(other, operator.identity) as moved:
            await moved.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)
            await quest.gets(catalogue.ON_TABLET_STOP_RECORDING)
        # What the newer one noted is still there, after all that the older one did.
        assert mixed.colour(f"device:{name}") == "blue"
        if turn == "newer leads":
            assert mixed.colour(f"session:{session}") == "blue"


async def test_the_older_server_reads_on_past_what_it_does_not_know(mixed: Mixed) -> None:
    """Kinds and versions that it does not know are in the stream, and what comes after arrives."""
    entries: Any = mixed.valkey.xrange("fleet:changes")
    known = [fields["m"] for _, fields in entries]
    assert any('"k":"paint"' in message for message in known)
    assert any('"v":2' in message for message in known)
    async with headset(mixed.new) as quest, tablet(mixed.old) as viewer:
        await viewer.gets(catalogue.ON_HEADSETS_UPDATED, lambda ids: quest.identity in ids)


async def test_a_session_of_a_later_version_is_left_alone(mixed: Mixed) -> None:
    async with headset(mixed.old) as quest, tablet(mixed.old) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity]},
        )
        session = created["sessionId"]
        key = f"session:{session}"
        assert mixed.valkey.hget(key, "v") == str(versions.VERSION)
        mixed.valkey.hset(key, mapping={"v": versions.VERSION + 1, "status": "rehearsing"})
        before = mixed.valkey.hgetall(key)
        said = "A newer server made this session: only that one can go on with it"
        for event in (catalogue.TABLET_START_SESSION, catalogue.TABLET_END_SESSION):
            await refused(operator, event, said, session)
        async with mixed.old.http(operator.identity) as http:
            answer = await http.get(f"/api/sessions/{session}")
            assert (answer.status_code, answer.json()["error"]) == (503, said)
            rows = (await http.get("/api/sessions")).json()["sessions"]
            assert session not in [row["sessionId"] for row in rows]
        assert mixed.valkey.hgetall(key) == before
        mixed.valkey.hset(key, mapping={"v": versions.VERSION, "status": "pending"})
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session)


async def refused(operator: Client, event: Any, said: str, session: str) -> None:
    operator.forget()
    await operator.send(event, session)
    refusal = await operator.gets(catalogue.ERROR)
    assert (refusal["code"], refusal["message"]) == ("UNAVAILABLE", said)


async def test_the_grace_of_a_tablet_with_such_a_session_is_left_to_the_newer_server(
    mixed: Mixed,
) -> None:
    async with headset(mixed.old) as quest:
        async with tablet(mixed.old) as operator:
            created = await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [quest.identity]},
            )
            key = f"session:{created['sessionId']}"
            mixed.valkey.hset(key, "v", versions.VERSION + 1)

        async def left() -> bool:
            logs = mixed.old.log.read_text() + mixed.new.log.read_text()
            return "grace_left_to_newer_server" in logs

        await until(left, timeout_s=15)
        assert mixed.valkey.hget(key, "status") == "pending"
        assert mixed.valkey.exists(f"lock:{quest.identity}")
        # Other tablets' graces end as ever.
        async with tablet(mixed.old) as other:
            await asyncio.sleep(0)
        identity = other.identity

        async def gone() -> bool:
            return not mixed.valkey.sismember("tablets", identity)

        await until(gone, timeout_s=15)
        mixed.valkey.hset(key, "v", versions.VERSION)


async def test_what_a_later_version_keeps_of_a_paired_tablet_stays(mixed: Mixed) -> None:
    async with mixed.old.http(admin=True) as http:
        offer = (await http.post("/api/tablets/pairings", json={"name": "Bench"})).json()
        paired = (await http.post("/auth/pair", json={"code": offer["code"]})).json()["deviceId"]
        text = str(mixed.valkey.hget("paired_tablets", paired))
        mixed.valkey.hset("paired_tablets", paired, text[:-1] + ',"colour":"blue"}')
        assert (await http.delete(f"/api/tablets/{paired}")).status_code == 200
    text = str(mixed.valkey.hget("paired_tablets", paired))
    assert '"colour":"blue"' in text
    assert '"revokedAt":""' not in text
