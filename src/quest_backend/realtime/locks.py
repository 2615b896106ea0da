"""Locks of tablets on headsets, and the legacy pairing that only watches."""

from collections.abc import Sequence

from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.realtime import reach
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.gateway import Refused, handles
from quest_backend.realtime.hub import Hub

REASONS = {"offline": "Device not online", "held": "Device locked by another tablet"}


class Locks:
    """Decided in one Lua script, so that two tablets never both win."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def _lock(self, connection: Connection, device_ids: Sequence[str]) -> list[str]:
        hub = self._hub
        outcomes, devices = await hub.store.lock(connection.identity, device_ids)
        hub.committed(devices)
        for device in devices:
            hub.connections.watch(connection.identity, device.device_id)
        for device_id, outcome in zip(device_ids, outcomes, strict=True):
            if outcome == "free":
                hub.audit.note(connection.identity, "lock", device_id)
            won = "true" if outcome in ("free", "mine") else "false"
            hub.metrics.lock_operations.labels("lock", won).inc()
        return outcomes

    async def _unlock(self, connection: Connection, device_ids: Sequence[str] | None) -> list[str]:
        hub = self._hub
        devices = await hub.store.unlock(connection.identity, device_ids)
        hub.committed(devices)
        for device in devices:
            hub.connections.unwatch(connection.identity, device.device_id)
            hub.audit.note(connection.identity, "unlock", device.device_id)
            hub.metrics.lock_operations.labels("unlock", "true").inc()
        return sorted(device.device_id for device in devices)

    @handles(catalogue.TABLET_LOCK_DEVICE)
    async def lock(self, connection: Connection, device_id: str) -> None:
        """Lock one device; again for one already held is success."""
        (outcome,) = await self._lock(connection, [device_id])
        if outcome in REASONS:
            self._hub.outbox.send(
                connection,
                catalogue.ON_DEVICE_LOCK_FAILED,
                {"deviceId": device_id, "reason": REASONS[outcome]},
            )
        else:
            self._hub.outbox.send(connection, catalogue.ON_DEVICE_LOCKED, {"deviceId": device_id})

    @handles(catalogue.TABLET_LOCK_DEVICES)
    async def lock_many(self, connection: Connection, device_ids: list[str]) -> None:
        """Lock a batch in one decision."""
        limit = self._hub.settings.max_devices_per_lock_request
        wanted = list(dict.fromkeys(device_ids))
        if not 1 <= len(wanted) <= limit:
            self._hub.outbox.send(
                connection,
                catalogue.ON_DEVICES_LOCKED,
                {
                    "locked": [],
                    "failed": wanted,
                    "error": f"A request takes 1 to {limit} devices, not {len(wanted)}",
                },
            )
            return
        outcomes = await self._lock(connection, wanted)
        pairs = list(zip(wanted, outcomes, strict=True))
        self._hub.outbox.send(
            connection,
            catalogue.ON_DEVICES_LOCKED,
            {
                "locked": [device_id for device_id, what in pairs if what not in REASONS],
                "failed": [device_id for device_id, what in pairs if what in REASONS],
            },
        )

    @handles(catalogue.TABLET_UNLOCK_DEVICE)
    async def unlock(self, connection: Connection, device_id: str) -> None:
        """Release one device; nothing happens to another tablet's."""
        for released in await self._unlock(connection, [device_id]):
            self._hub.outbox.send(connection, catalogue.ON_DEVICE_UNLOCKED, {"deviceId": released})

    @handles(catalogue.TABLET_UNLOCK_ALL_DEVICES)
    async def unlock_all(self, connection: Connection) -> None:
        """Release every device this tablet holds."""
        released = await self._unlock(connection, None)
        self._hub.outbox.send(connection, catalogue.ON_ALL_DEVICES_UNLOCKED, {"unlocked": released})

    @handles(catalogue.TABLET_CONNECT_HEADSET)
    async def watch(self, connection: Connection, device_id: str) -> None:
        """Watch a headset without a lock; one at a time."""
        hub = self._hub
        device = hub.view.devices.get(device_id)
        if device is None or not device.is_online:
            hub.outbox.send(connection, catalogue.ON_HEADSET_DISCONNECTED)
            return
        previous = connection.watched
        if previous and previous != device_id:
            await self._stop_watching(connection, previous)
        await hub.store.watch(connection.identity, device_id)
        connection.watched = device_id
        hub.connections.join(connection, device_room(device_id))
        hub.outbox.send(connection, catalogue.ON_HEADSET_CONNECTED)

    @handles(catalogue.TABLET_DISCONNECT_HEADSET)
    async def unwatch(self, connection: Connection, device_id: str) -> None:
        """Stop watching."""
        if connection.watched == device_id:
            await self._hub.store.watch(connection.identity, "")
            await self._stop_watching(connection, device_id)
        self._hub.outbox.send(connection, catalogue.ON_HEADSET_DISCONNECTED)

    async def _stop_watching(self, connection: Connection, device_id: str) -> None:
        connection.watched = ""
        hub = self._hub
        if device_id not in await hub.store.held(hub.connections.lead_sid(connection)):
            hub.connections.leave(connection, device_room(device_id))

    @handles(catalogue.TABLET_SYNC_METADATA)
    async def sync_metadata(self, connection: Connection, data: str, target: str | None) -> None:
        """Send metadata to headsets that this tablet, or nobody, holds."""
        hub = self._hub
        lead = hub.connections.lead_sid(connection)
        wanted = [target] if target else await hub.store.held(lead)
        if not target and connection.watched and connection.watched not in wanted:
            wanted = [*wanted, connection.watched]
        devices = await hub.store.read(wanted)
        for device_id in wanted:
            device = devices.get(device_id)
            if device is not None and device.locked_by not in ("", lead):
                if target:
                    raise Refused(ErrorCode.FORBIDDEN, f"{REASONS['held']}: {device_id}")
                del devices[device_id]
        reached = await reach.headsets(
            hub, devices.values(), catalogue.ON_TABLET_METADATA_SYNCED, data
        )
        if target and not reached:
            raise Refused(ErrorCode.DEVICE_OFFLINE, f"{REASONS['offline']}: {target}")
