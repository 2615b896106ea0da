"""Asking everybody: Valkey, the bucket, each server, and the clients themselves."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
from support import Server

from chaos.observation import (
    Observation,
    Result,
    Row,
    Scores,
    Store,
    StoredDevice,
    StoredFile,
    StoredSession,
    StoredTablet,
    View,
)
from chaos.world import World
from quest_backend.simulator.devices import SimulatedDashboard
from quest_backend.state import keys
from quest_backend.storage.s3 import ObjectStore

# Its stubs mix text and bytes.
Redis = Any
_PAGE = 1000


async def observe(world: World, *, final: bool = False) -> Observation:
    """Everything, as it is now. Read in such an order that what is promised is there already.

    Raises:
        redis.RedisError: Valkey is away.
    """
    takes = {headset.device_id: headset.made() for headset in world.headsets}
    store = await read_store(world.redis)
    views = await asyncio.gather(*(_node(server) for server in world.site.servers))
    return Observation(
        headsets={headset.device_id: headset.side() for headset in world.headsets},
        tablets={operator.tablet.device_id: operator.side() for operator in world.operators},
        store=store,
        views=(*views, *(_desk(dashboard) for dashboard in world.dashboards)),
        takes=takes,
        bucket=await _bucket(world.site.bucket),
        scores=await _scores(world.redis),
        faults_logged=tuple(world.site.read_logs()),
        final=final,
    )


def _row(device: Mapping[str, Any]) -> Row:
    online = bool(device["isOnline"])
    return Row(
        device["socketId"],
        online,
        online and bool(device["isRecording"]),
        device.get("lockedByTabletId", ""),
    )


async def _node(server: Server) -> View:
    name = server.data_dir.name
    try:
        async with server.http(admin=True) as http:
            answer = await http.get("/api/devices")
            health = await http.get("/health")
    except httpx.HTTPError:
        return View(name, {}, healthy=False)
    if answer.status_code != 200 or health.status_code != 200:
        return View(name, {}, healthy=False)
    return View(name, {row["deviceId"]: _row(row) for row in answer.json()["devices"]})


def _desk(dashboard: SimulatedDashboard) -> View:
    rows = {device_id: _row(device) for device_id, device in dashboard.fleet.items()}
    return View(dashboard.device_id, rows, healthy=dashboard.connected)


async def read_store(client: Redis) -> Store:
    """The fleet as Valkey has it."""
    locked = [key.partition(":")[2] async for key in client.scan_iter("lock:*", count=_PAGE)]
    held_keys = [key async for key in client.scan_iter("tablet_locks:*", count=_PAGE)]
    device_ids = sorted({*(await client.zrange(keys.DEVICES, 0, -1)), *locked})
    identities = sorted(await client.smembers(keys.TABLETS))
    session_ids = await client.zrange(keys.SESSIONS, 0, -1)
    pipe = client.pipeline()  # MULTI: all of one moment
    pipe.zrange(keys.HEADSET_GRACE, 0, -1)
    pipe.zrange(keys.TABLET_GRACE, 0, -1)
    for device_id in device_ids:
        pipe.get(f"lock:{device_id}")
        pipe.hgetall(keys.device(device_id))
        pipe.get(f"device_session:{device_id}")
    for key in held_keys:
        pipe.smembers(key)
    for identity in identities:
        pipe.hget(keys.tablet(identity), "socketId")
    for session_id in session_ids:
        pipe.hgetall(keys.session(session_id))
        pipe.hgetall(keys.session_devices(session_id))
    answers = iter(await pipe.execute())
    graces, missed = next(answers), next(answers)
    devices = {}
    for device_id in device_ids:
        lock, fields, session_id = next(answers), next(answers), next(answers)
        online = fields.get("isOnline") == "1"
        row = Row(
            fields.get("socketId", ""),
            online,
            online and fields.get("isRecording") == "1",
            fields.get("lockedByTabletId", ""),
        )
        devices[device_id] = StoredDevice(row, lock or "", session_id or "", device_id in graces)
    held = {key.partition(":")[2]: frozenset(next(answers)) for key in held_keys}
    tablets = {
        identity: StoredTablet(next(answers) or "", identity in missed) for identity in identities
    }
    sessions = {}
    for session_id in session_ids:
        fields, parts = next(answers), next(answers)
        if fields:
            sessions[session_id] = _session(fields, parts)
    return Store(devices, tablets, sessions, held)


def _session(fields: Mapping[str, str], parts: Mapping[str, str]) -> StoredSession:
    members = frozenset(orjson.loads(fields["deviceIds"]))
    return StoredSession(
        fields["status"],
        fields["tabletIdentity"],
        fields["tabletId"],
        members,
        frozenset(one for one in members if parts.get(f"{one}:isRecording") == "1"),
    )


async def _bucket(bucket: ObjectStore) -> dict[str, StoredFile]:
    found: dict[str, StoredFile] = {}
    after = ""
    while True:
        page = await bucket.listed("sessions/", after)
        found.update({one.key: StoredFile(one.size, one.etag) for one in page})
        if len(page) < _PAGE:
            return found
        after = page[-1].key


async def _scores(client: Redis) -> Scores:
    folders = await client.zrange(keys.QA_SESSIONS, 0, -1)
    lists = [key async for key in client.scan_iter("qa_list:date:*", count=_PAGE)]
    pipe = client.pipeline()
    pipe.hgetall(keys.QA_TOTALS)
    pipe.hgetall(keys.QA_DEAD)
    pipe.xrange(keys.QA_NEWS)
    for key in lists:
        pipe.zrange(key, 0, -1)
    for folder in folders:
        pipe.hmget(keys.qa_session(folder), ["fingerprint", "share"])
    totals, dead, news, *rest = await pipe.execute()
    listed = Counter(folder for members in rest[: len(lists)] for folder in members)
    told = Counter(fields["sessionId"] for _, fields in news)
    results = {
        folder: Result(version, told[folder], listed[folder], orjson.loads(share))
        for folder, (version, share) in zip(folders, rest[len(lists) :], strict=True)
        if version
    }
    sums = {name: int(value) for name, value in totals.items() if name != "updated"}
    return Scores(results, sums, tuple(f"{name}: {text}" for name, text in dead.items()))
