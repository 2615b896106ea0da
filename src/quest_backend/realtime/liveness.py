"""Nodes that die, and this one coming back: from a restart, or after Valkey was away."""

import asyncio
import contextlib

import structlog

from quest_backend.fleet.recording import ignores
from quest_backend.realtime.connections import Connection
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.presence import Presence
from quest_backend.realtime.recording import Recording
from quest_backend.realtime.relay import Relay
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

_BEATS_PER_LIFE = 4
_RENEW_S = 60.0
# Whoever takes a dead node's clients over and dies leaves them to the next after this.
_LEASE_S = 30.0


class Liveness:
    """This node's heartbeat, what it makes of others that have none, and its own recovery."""

    def __init__(self, hub: Hub, presence: Presence, recording: Recording, relay: Relay) -> None:
        self._hub = hub
        self._presence = presence
        self._recording = recording
        self._relay = relay
        self._me = hub.nodes.node_id
        self._steady_since = float("inf")
        self._renewed_at = float("-inf")
        self._reconciling = asyncio.Lock()
        self._dead: frozenset[str] = frozenset()
        self._beaten = asyncio.Event()

    async def recover(self) -> None:
        """At the start: load the fleet; whoever was on this node is missing."""
        hub = self._hub
        await hub.changes.begin()
        for device, telemetry in await hub.store.load_all():
            hub.view.apply(device)
            if telemetry is not None:
                hub.view.seen(device.device_id, device.last_seen, telemetry)
        await self._bereave(self._me)
        beat = await hub.nodes.beat()
        self._steady_since = hub.clock.monotonic()
        await self._relay.beat(beat.alive)
        await hub.changes.announce({"k": "hello"})
        log.info("fleet_recovered", devices=len(hub.view.devices), nodes=len(beat.alive))

    async def _bereave(self, node_id: str) -> None:
        """A node is dead: its headsets are offline, they and its tablets have a grace."""
        hub = self._hub
        # Another one may be back before this is done, and have said who is there.
        dead = node_id if node_id != self._me else None
        for device in hub.view.online():
            if device.node_id == node_id:
                await self._presence.headset_gone(
                    device.device_id, device.socket_id, keep_lock=True, dead_node=dead
                )
        for identity, socket_id in await hub.store.tablets_of(node_id):
            returns = not identity.startswith("anonymous:")
            await hub.store.tablet_gone(identity, socket_id, returns=returns, dead_node=dead)

    async def keep_alive(self) -> None:
        """For ever: this node's heartbeat, whatever else it has to do."""
        nodes, clock = self._hub.nodes, self._hub.clock
        away = False
        while True:
            try:
                await self._beat()
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning("heartbeat_missed", reason=str(error))
                away = True
                # Until all that live have had time to say so, nobody counts as dead.
                self._steady_since = clock.monotonic()
            self._beaten.set()
            await asyncio.sleep(nodes.timeout_s / _BEATS_PER_LIFE)

    async def _beat(self) -> None:
        hub = self._hub
        beat = await hub.nodes.beat()
        now = hub.clock.monotonic()
        if not beat.was_alive:
            # The others took it for dead, or will, or the store lost what it knew.
            log.warning("heartbeat_had_expired")
            self._steady_since = now
            hub.unsure = True
        self._dead = beat.dead if now - self._steady_since > hub.nodes.timeout_s else frozenset()
        await self._relay.beat(beat.alive)

    async def keep_order(self) -> None:
        """For ever, after each heartbeat: say who is here, who is dead, what is still held."""
        clock = self._hub.clock
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            with contextlib.suppress(StoreUnavailable):  # the heartbeat says so; again after it
                if self._hub.unsure:
                    await self.reconcile()
                for node_id in sorted(self._dead):
                    await self._take_over(node_id)
                if clock.monotonic() - self._renewed_at >= _RENEW_S:
                    self._renewed_at = clock.monotonic()
                    await self._renew()

    async def _take_over(self, node_id: str) -> None:
        hub = self._hub
        if not await hub.nodes.claim_dead(node_id, _LEASE_S):
            return
        log.warning("node_died", node=node_id)
        await self._bereave(node_id)
        await hub.nodes.forget(node_id)

    async def _renew(self) -> None:
        hub = self._hub
        here = set(hub.connections.by_sid)
        held = [d.device_id for d in hub.view.devices.values() if d.locked_by in here]
        ttl = hub.settings.lock_ttl_seconds
        await hub.store.renew(hub.connections.headsets(), held, ttl)

    async def reconcile(self) -> None:
        """Make the store say of this node's sockets what is true: who is here, who is not.

        Raises:
            StoreUnavailable: it is away (again); the rest is done the next time.
        """
        async with self._reconciling:
            self._hub.unsure = False
            try:
                await self._reconcile_headsets()
                await self._reconcile_tablets()
            except StoreUnavailable:
                self._hub.unsure = True
                raise
            log.info("sockets_reconciled", sockets=len(self._hub.connections.by_sid))

    async def _reconcile_headsets(self) -> None:
        hub = self._hub
        here = hub.connections.claims()
        stored = await hub.store.read([*here])
        for device_id, connection in here.items():
            device = stored.get(device_id)
            mine = device is not None and device.socket_id == connection.sid
            if device is not None and device.is_online and not mine and device.node_id != self._me:
                continue  # it has moved on, or is not missed there yet: Peers._orphaned
            known = hub.connections.headset(device_id) is connection
            # The store may have done what was asked of it though it gave no answer in time.
            if device is None or not device.is_online or not mine or not known:
                await self._presence.is_here_after_all(connection, device_id, device)
            await self._report_again(connection)
        for device in hub.view.online():
            if device.node_id == self._me and hub.connections.headset(device.device_id) is None:
                await self._presence.headset_gone(device.device_id, device.socket_id)

    async def _report_again(self, connection: Connection) -> None:
        known = self._hub.view.devices.get(connection.device_id)
        said = connection.said_recording
        if known is None or said is None:
            return
        # What it said before it was told something is no answer: it is told again, and answers.
        if not ignores(known, said) and (said != known.is_recording or known.commanded):
            await self._recording.report(connection, said)

    async def _reconcile_tablets(self) -> None:
        hub = self._hub
        identities = hub.connections.tablets()
        leads = await hub.store.tablet_leads(identities)
        for identity, (lead, node_id, missing) in zip(identities, leads, strict=True):
            sockets = hub.connections.tablet(identity)
            if not sockets or (lead == sockets[-1].sid and not missing):
                continue
            # One of this node's own that is not here any more closed while the store was away.
            if lead and not missing and node_id != self._me:
                hub.connections.leads[identity] = lead
            else:
                await self._presence.lead(sockets[-1])
        for identity, socket_id in await hub.store.tablets_of(self._me):
            if not hub.connections.tablet(identity):
                await hub.store.tablet_gone(
                    identity, socket_id, returns=not identity.startswith("anonymous:")
                )
