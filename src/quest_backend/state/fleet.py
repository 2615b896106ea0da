"""Devices, locks and tablets in Valkey. Every change returns the devices as committed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from quest_backend.clock import Clock
from quest_backend.fleet.devices import Device
from quest_backend.protocol.limits import HISTORY_SAMPLE_S, HISTORY_WINDOW_S
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey

Row = Sequence[str]
# How long a node may take to see to a tablet whose grace is over.
_CLAIM_MS = 30_000


def device_of(row: Row) -> Device:
    """A device from ``{id, name, session, field, value, ...}`` (lua/common.lua, ``row``)."""
    device_id, name, session = row[:3]
    fields = dict(zip(row[3::2], row[4::2], strict=True))
    return Device(
        device_id=device_id,
        revision=int(fields.get("rev", 0)),
        socket_id=fields.get("socketId", ""),
        node_id=fields.get("nodeId", ""),
        is_online=fields.get("isOnline") == "1",
        last_seen=fields.get("lastSeen", ""),
        connection_time=fields.get("connectionTime", ""),
        locked_by=fields.get("lockedByTabletId", ""),
        locked_at=fields.get("lockedAt", ""),
        is_recording=fields.get("isRecording") == "1",
        commanded=fields.get("commanded", ""),
        session_id=session,
        custom_name=name,
    )


@dataclass(frozen=True, slots=True)
class HeadsetGone:
    """What became of a headset that went away. ``holder`` is the socket that held it, or ''."""

    device: Device
    holder: str
    kept: bool
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class TabletHere:
    """What a tablet holds when it connects. ``moved`` are the devices whose lock moved."""

    moved: tuple[Device, ...]
    session_ids: tuple[str, ...]
    watched: str


class FleetStore:
    """The fleet's truth."""

    def __init__(self, valkey: Valkey, clock: Clock, node_id: str, grace_s: float) -> None:
        self._valkey = valkey
        self._clock = clock
        self._node = node_id
        self._grace_ms = int(grace_s * 1000)

    async def _run(self, script: str, /, **arguments: Any) -> Any:
        return await self._valkey.script(
            script, now=self._clock.iso(), now_ms=self._clock.unix_ms(), **arguments
        )

    def _deadline_ms(self) -> int:
        return self._clock.unix_ms() + self._grace_ms

    async def identify(self, device_id: str, socket_id: str) -> Device:
        """The headset is on this node, on this socket."""
        (row,) = await self._run("identify", id=device_id, socket=socket_id, node=self._node)
        return device_of(row)

    async def identify_instead(self, device_id: str, socket_id: str, instead: str) -> Device | None:
        """The same, if it was on the socket ``instead`` until now ('' for none); else None."""
        rows = await self._run(
            "identify", id=device_id, socket=socket_id, node=self._node, instead=instead
        )
        return device_of(rows[0]) if rows else None

    async def headset_gone(
        self, device_id: str, socket_id: str, *, keep_lock: bool = False,
        dead_node: str | None = None,
    ) -> HeadsetGone | None:  # fmt: skip
        """Its socket is gone; None when a newer one has taken over, or ``dead_node`` is alive.

        In an open session (or with ``keep_lock``, after a restart) its place is kept for a grace.
        """
        answer = await self._run(
            "headset_gone",
            id=device_id,
            socket=socket_id,
            keep_lock=keep_lock,
            dead_node=dead_node,
            deadline_ms=self._deadline_ms(),
        )
        if not answer:
            return None
        holder, fate, row = answer
        return HeadsetGone(device_of(row), holder, fate == "grace")

    async def headset_expired(self, device_id: str) -> HeadsetGone | None:
        """Its grace is over; None when it is back or another node saw to it."""
        answer = await self._run("headset_expired", id=device_id)
        if not answer:
            return None
        holder, session_id, row = answer
        return HeadsetGone(device_of(row), holder, kept=False, session_id=session_id)

    async def report_recording(
        self, device_id: str, socket_id: str, recording: bool
    ) -> Device | None:
        """What the headset says; None from a socket that has been replaced."""
        answer = await self._run(
            "report_recording", id=device_id, socket=socket_id, recording="1" if recording else "0"
        )
        return device_of(answer[0]) if answer else None

    async def rename(self, device_id: str, name: str) -> Device | None:
        """Give a device of the fleet a name; None when it is not of the fleet."""
        answer = await self._run("rename", id=device_id, name=name)
        return device_of(answer[0]) if answer else None

    async def read(self, device_ids: Sequence[str]) -> dict[str, Device]:
        """Devices as they are in Valkey now; unknown ones are left out."""
        pipe = self._valkey.client.pipeline(transaction=False)
        for device_id in device_ids:
            pipe.hgetall(keys.device(device_id))
            pipe.hget(keys.DEVICE_NAMES, device_id)
            pipe.get(f"device_session:{device_id}")
        answers = await self._valkey.call(pipe.execute())
        devices = {}
        for index, device_id in enumerate(device_ids):
            fields, name, session = answers[3 * index : 3 * index + 3]
            if fields:
                flat = [part for pair in fields.items() for part in pair]
                devices[device_id] = device_of([device_id, name or "", session or "", *flat])
        return devices

    async def load_all(self) -> list[tuple[Device, dict[str, Any] | None]]:
        """Every device of the fleet with its latest telemetry (None after 5 minutes)."""
        members = await self._valkey.call(
            self._valkey.client.zrange(keys.DEVICES, 0, -1, withscores=True)
        )
        loaded: list[tuple[Device, dict[str, Any] | None]] = []
        for start in range(0, len(members), 500):
            part = members[start : start + 500]
            ids = [device_id for device_id, _ in part]
            devices = await self.read(ids)
            telemetry = await self._valkey.call(
                self._valkey.client.mget([keys.telemetry(device_id) for device_id in ids])
            )
            for (device_id, seen_ms), text in zip(part, telemetry, strict=True):
                # The hash lives a day, the fleet remembers a device for a week.
                at = self._clock.iso_of(int(seen_ms))
                device = devices.get(device_id) or Device(
                    device_id, last_seen=at, connection_time=at
                )
                loaded.append((device, orjson.loads(text) if text else None))
        return loaded

    async def command(self, device_ids: Sequence[str], command: str) -> list[Device]:
        """Remember what headsets are told, until they say that they do it.

        Those that have to be told: online, and not in the state that ``command`` wants, or with the
        opposite still under way.
        """
        rows = await self._run("command", ids=list(device_ids), command=command)
        return [device_of(row) for row in rows]

    async def command_as_read(self, device: Device, status: str, command: str) -> Device | None:
        """Whatever it does: None when its session, that one's status or its command has changed."""
        read = {"session": device.session_id, "status": status, "told": device.commanded}
        rows = await self._run("command", ids=[device.device_id], command=command, read=read)
        return device_of(rows[0]) if rows else None

    async def lock(
        self, identity: str, device_ids: Sequence[str]
    ) -> tuple[list[str], list[Device]]:
        """Outcome per device (free, mine: now held; held, offline: not), decided at once."""
        outcomes, rows = await self._run("lock", identity=identity, ids=list(device_ids))
        return outcomes, [device_of(row) for row, what in zip(rows, outcomes, strict=True)
                          if what in ("free", "mine")]  # fmt: skip

    async def unlock(
        self, identity: str, device_ids: Sequence[str] | None = None, socket_id: str | None = None
    ) -> list[Device]:
        """Release those of ``device_ids`` (None: all) that the tablet holds; the released ones."""
        ids = list(device_ids) if device_ids is not None else None
        if ids == []:
            return []
        _, rows = await self._run("unlock", identity=identity, ids=ids, socket=socket_id)
        return [device_of(row) for row in rows]

    async def held(self, socket_id: str) -> list[str]:
        """Ids of the devices whose lock carries this socket, sorted."""
        members = self._valkey.client.smembers(f"tablet_locks:{socket_id}")
        return sorted(await self._valkey.call(members))

    async def tablet_here(self, identity: str, socket_id: str) -> TabletHere:
        """This socket now holds the tablet's locks and sessions."""
        _, sessions, watched, rows = await self._run(
            "tablet_here", identity=identity, socket=socket_id, node=self._node
        )
        return TabletHere(tuple(device_of(row) for row in rows), tuple(sessions), watched)

    async def tablet_gone(
        self, identity: str, socket_id: str, *, returns: bool = True, dead_node: str | None = None
    ) -> str:
        """Its last socket is gone: ``grace``, ``gone``, or ``stale`` (also: ``dead_node`` lives).

        One that cannot return (no identity) has no grace.
        """
        deadline = self._deadline_ms() if returns else self._clock.unix_ms()
        return str(
            await self._run(
                "tablet_gone",
                identity=identity,
                socket=socket_id,
                deadline_ms=deadline,
                dead_node=dead_node,
            )
        )

    async def watch(self, identity: str, device_id: str) -> None:
        """Remember which headset the tablet watches (legacy pairing); '' for none."""
        await self._valkey.call(
            self._valkey.client.hset(f"tablet:{identity}", "watched", device_id)
        )

    async def due_tablets(self) -> list[tuple[str, str]]:
        """Claim tablets whose grace is over: (identity, socket id), each for one caller only.

        Those that the caller does not see to within half a minute are somebody else's.
        """
        until = self._clock.unix_ms() + _CLAIM_MS
        flat = await self._run("due_tablets", until_ms=until)
        return list(zip(flat[::2], flat[1::2], strict=True))

    async def tablet_expired(self, identity: str, socket_id: str) -> None:
        """Forget a tablet whose holdings have been released."""
        await self._run("tablet_expired", identity=identity, socket=socket_id)

    async def due_headsets(self) -> list[str]:
        """Headsets whose grace is over."""
        return list(
            await self._valkey.call(
                self._valkey.client.zrangebyscore(
                    keys.HEADSET_GRACE, 0, self._clock.unix_ms(), start=0, num=200
                )
            )
        )

    async def tablets_of(self, node_id: str) -> list[tuple[str, str]]:
        """Tablets whose newest socket is on this node, as far as is known: (identity, socket)."""
        client = self._valkey.client
        identities = sorted(await self._valkey.call(client.smembers(keys.TABLETS)))
        pipe = client.pipeline(transaction=False)
        for identity in identities:
            pipe.hmget(keys.tablet(identity), ["socketId", "nodeId"])
        rows = await self._valkey.call(pipe.execute()) if identities else []
        return [
            (identity, socket)
            for identity, (socket, node) in zip(identities, rows, strict=True)
            if socket and node == node_id
        ]

    async def tablet_leads(self, identities: Sequence[str]) -> list[tuple[str, str, bool]]:
        """Each tablet's socket that holds its locks, its node ('': none), if it is missed."""
        pipe = self._valkey.client.pipeline(transaction=False)
        for identity in identities:
            pipe.hmget(keys.tablet(identity), ["socketId", "nodeId"])
            pipe.zscore(keys.TABLET_GRACE, identity)
        answers = await self._valkey.call(pipe.execute()) if identities else []
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return [(socket or "", node or "", score is not None) for (socket, node), score in pairs]

    async def tablets_here(self) -> set[str]:
        """Identities of the tablets that are connected to any node."""
        client = self._valkey.client
        pipe = client.pipeline()
        pipe.smembers(keys.TABLETS)
        pipe.zrange(keys.TABLET_GRACE, 0, -1)
        known, missing = await self._valkey.call(pipe.execute())
        return set(known) - set(missing)

    async def renew(self, device_ids: Iterable[str], held: Iterable[str], lock_ttl_s: int) -> None:
        """Keep connected headsets' hashes and connected tablets' locks from expiring."""
        pipe = self._valkey.client.pipeline(transaction=False)
        for device_id in device_ids:
            pipe.expire(keys.device(device_id), 24 * 3600)
        for device_id in held:
            pipe.expire(f"lock:{device_id}", lock_ttl_s)
        await self._valkey.call(pipe.execute())

    async def forget_offline_since(self, before_ms: int) -> list[str]:
        """Remove devices that are offline, and not seen since, from the fleet; their ids."""
        return list(await self._run("forget_devices", before_ms=before_ms))

    async def raise_revision(self, known: int) -> bool:
        """Let the store go on from ``known``; whether it was behind, having lost what it had."""
        return bool(await self._run("raise_revision", known=known))

    async def sample_history(self, device_id: str, telemetry: dict[str, Any]) -> None:
        """Keep this telemetry as the sample of the running 5 minutes, if there is none yet."""
        client = self._valkey.client
        first = await self._valkey.call(
            client.set(keys.history_mark(device_id), "1", nx=True, ex=HISTORY_SAMPLE_S)
        )
        if not first:
            return
        now = self._clock.unix_ms()
        key = keys.history(device_id)
        pipe = client.pipeline()
        pipe.zadd(key, {orjson.dumps(telemetry).decode(): now})
        pipe.zremrangebyscore(key, 0, now - HISTORY_WINDOW_S * 1000)
        pipe.expire(key, HISTORY_WINDOW_S)
        await self._valkey.call(pipe.execute())

    async def history(self, device_id: str) -> list[dict[str, Any]]:
        """Samples of the last 24 hours, oldest first."""
        since = self._clock.unix_ms() - HISTORY_WINDOW_S * 1000
        texts = await self._valkey.call(
            self._valkey.client.zrangebyscore(keys.history(device_id), since, "+inf")
        )
        return [orjson.loads(text) for text in texts]
