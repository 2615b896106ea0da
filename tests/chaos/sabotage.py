"""Each promise broken on purpose, for real, and mended again: what the checker is tried with."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import orjson
from bucket import put

from chaos.invariants import Invariant
from chaos.world import World
from quest_backend.protocol.recordings import FileType
from quest_backend.state import keys

_ASIDE = "chaos:aside"
_BOGUS = "session_1_chaos"


@asynccontextmanager
async def _lock_of_nobody(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A lock that carries the socket of no tablet."""
    free = [
        headset.device_id
        for headset in world.headsets
        if not await world.redis.exists(f"lock:{headset.device_id}")
    ]
    key = f"lock:{chance.choice(free)}"
    await world.redis.set(key, "of-nobody")
    yield
    await world.redis.delete(key)


@asynccontextmanager
async def _session_lost(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A session that is gone from Valkey."""
    ids = await world.redis.zrange(keys.SESSIONS, 0, -1)
    over = [i for i in ids if await world.redis.hget(keys.session(i), "status") == "completed"]
    key = keys.session(chance.choice(over))
    await world.redis.rename(key, _ASIDE)
    yield
    await world.redis.rename(_ASIDE, key)


@asynccontextmanager
async def _records_unasked(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A headset that records, and tells nobody."""
    headset = chance.choice([one for one in world.headsets if not one.recording])
    headset.recording = True
    yield
    headset.recording = False


@asynccontextmanager
async def _object_deleted(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A file that is gone from the bucket."""
    keys_ = await world.site.bucket.keys_from("sessions/", "")
    key = chance.choice([one for one in keys_ if one.endswith(".npz")])
    stored = await world.site.bucket.head(key)
    assert stored is not None
    body = await world.site.bucket.read_range(key, 0, stored.size, stored.etag)
    await world.site.bucket.delete(key)
    yield
    # In one part, as it was: its ETag is the same again.
    await put(world.site.bucket, key.split("/")[1], FileType.DATA, body)


@asynccontextmanager
async def _result_deleted(world: World, chance: random.Random) -> AsyncIterator[None]:
    """A recording whose QA result is gone."""
    key = keys.qa_session(chance.choice(await world.redis.zrange(keys.QA_SESSIONS, 0, -1)))
    await world.redis.rename(key, _ASIDE)
    yield
    await world.redis.rename(_ASIDE, key)


@asynccontextmanager
async def _node_misled(world: World, chance: random.Random) -> AsyncIterator[None]:
    """One server that believes a headset to be offline which is not."""
    device_id = chance.choice(world.headsets).device_id
    node_id = (world.site.servers[0].data_dir / "node-id").read_text().strip()

    async def tell(step: int, **changed: str) -> None:
        fields = await world.redis.hgetall(keys.device(device_id))
        fields |= {"rev": str(int(fields["rev"]) + step), **changed}
        session = await world.redis.get(f"device_session:{device_id}") or ""
        row = [device_id, "", session, *(part for pair in fields.items() for part in pair)]
        message = {"v": 1, "k": "devices", "n": "chaos", "rows": [row]}
        await world.redis.xadd(keys.inbox(node_id), {"m": orjson.dumps(message).decode()})

    await tell(1, isOnline="0")
    yield
    await tell(2)


@asynccontextmanager
async def _server_fails(world: World, _: random.Random) -> AsyncIterator[None]:
    """A key that is not what servers expect there: reading it fails, and is logged."""
    key = keys.session(_BOGUS)
    await world.redis.set(key, "not a hash")
    async with world.site.servers[0].http(admin=True) as http:
        await http.get(f"/api/sessions/{_BOGUS}")
    yield
    await world.redis.delete(key)
    world.site.logged.clear()


Sabotage = Callable[[World, random.Random], AbstractAsyncContextManager[None]]

SABOTAGE: dict[Invariant, Sabotage] = {
    Invariant.LOCKS: _lock_of_nobody,
    Invariant.SESSIONS: _session_lost,
    Invariant.RECORDING: _records_unasked,
    Invariant.UPLOADS: _object_deleted,
    Invariant.SCORES: _result_deleted,
    Invariant.FLEET: _node_misled,
    Invariant.ERRORS: _server_fails,
}
