"""What other nodes committed and ask for, and being of one mind with the store after a cut."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from quest_backend.fleet.devices import Device
from quest_backend.protocol import catalogue
from quest_backend.protocol.catalogue import OUTBOUND
from quest_backend.protocol.errors import ErrorCode
from quest_backend.realtime.connections import device_room
from quest_backend.realtime.dashboards import snapshot_to_all
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import tell_recording
from quest_backend.realtime.relay import Relay
from quest_backend.state.changes import Message
from quest_backend.state.fleet import device_of
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

_RETRY_S = 0.2


class Peers:
    """Reads the streams, and makes of each change what the clients of this node see."""

    def __init__(
        self,
        hub: Hub,
        relay: Relay,
        *,
        claimed: Callable[[Device], Coroutine[Any, Any, None]],
        lead_again: Callable[[str], Coroutine[Any, Any, None]],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        self._hub = hub
        self._relay = relay
        self._me = hub.nodes.node_id
        self._claimed = claimed
        self._lead_again = lead_again
        self._back = back
        self.handlers: dict[str, Callable[[Message], None]] = {
            "devices": self._devices,
            "gone": self._gone,
            "lead": self._lead,
            "left": self._left,
            "headset": self._to_headset,
            "tablet": self._to_tablet,
            "watch": relay.told,
            "hello": lambda message: relay.met(message["n"]),
        }

    async def keep_reading(self) -> None:
        """For ever: hand on what is new. After a cut, the store as it is now comes first."""
        away, changes = False, self._hub.changes
        while True:
            try:
                if away or changes.missed:
                    await self.resynchronise()
                    log.info("state_store_back" if away else "caught_up_with_changes")
                    away = changes.missed = False
                messages = await changes.read()
            except StoreUnavailable as error:
                if not away:
                    log.warning("state_store_away", reason=str(error))
                away = True
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            for message in messages:
                self._handle(message)

    def _handle(self, message: Message) -> None:
        handler = self.handlers.get(message.get("k", ""))
        if handler is None:
            return  # of a newer version, which knows that this one is about
        try:
            handler(message)
        except Exception as error:  # one message ends nothing but itself
            log.error("change_failed", kind=message.get("k"), exc_info=error)

    # -- Devices -----------------------------------------------------------------------------------

    def _devices(self, message: Message) -> None:
        for row in message["rows"]:
            self.learn(device_of(row), from_here=message["n"] == self._me)

    def learn(self, device: Device, *, from_here: bool = False, force: bool = False) -> None:
        """A device as committed. What this node itself did, it tells its clients itself."""
        hub = self._hub
        known = hub.view.devices.get(device.device_id)
        if not hub.committed([device], force=force):
            return
        if from_here:
            return
        self._taken_over(device)
        self._orphaned(known, device)
        self._tell_room(known, device)
        self._holder_changed(known, device)
        self._relay.interest(device.device_id)

    def _taken_over(self, device: Device) -> None:
        hub = self._hub
        here = hub.connections.headset(device.device_id)
        elsewhere = device.is_online and device.node_id != self._me
        if here is None or not elsewhere or device.socket_id == here.sid:
            return
        hub.connections.release(here)
        hub.outbox.refuse(here, ErrorCode.REPLACED, "A newer connection identified as this headset")
        log.info("headset_moved", device=device.device_id, node=device.node_id)

    def _orphaned(self, known: Device | None, device: Device) -> None:
        """Its socket elsewhere is gone. One here that came in an outage could not say so then."""
        missed = known is not None and known.is_online and not device.is_online
        if missed and self._hub.connections.claimant(device.device_id) is not None:
            self._hub.spawn(self._claimed(device))

    def _tell_room(self, known: Device | None, device: Device) -> None:
        hub = self._hub
        room = hub.connections.room(device_room(device.device_id))
        if known is None or not room:
            return
        if device.is_online and (not known.is_online or known.socket_id != device.socket_id):
            hub.outbox.send(room, catalogue.ON_HEADSET_CONNECTED)
        elif known.is_online and not device.is_online:
            hub.outbox.send(room, catalogue.ON_HEADSET_DISCONNECTED)
        if known.is_recording != device.is_recording:
            tell_recording(hub, device.device_id, device.is_recording)

    def _holder_changed(self, known: Device | None, device: Device) -> None:
        hub = self._hub
        if known is None or known.locked_by == device.locked_by:
            return
        holder = hub.connections.by_sid.get(known.locked_by)
        lead = hub.connections.leads
        if holder is not None and lead.get(holder.identity) != device.locked_by:
            hub.connections.unwatch(holder.identity, device.device_id)
            if not device.locked_by and not device.is_online:
                hub.outbox.send(
                    holder, catalogue.ON_DEVICE_DISCONNECTED, {"deviceId": device.device_id}
                )
        holder = hub.connections.by_sid.get(device.locked_by)
        if holder is not None:
            hub.connections.watch(holder.identity, device.device_id)

    def _gone(self, message: Message) -> None:
        hub = self._hub
        hub.view.remove(message["ids"])
        hub.lists.changed()
        snapshot_to_all(hub)

    # -- Tablets and headsets ----------------------------------------------------------------------

    def _lead(self, message: Message) -> None:
        if message["n"] != self._me and self._hub.connections.tablet(message["who"]):
            self._hub.connections.leads[message["who"]] = message["sid"]

    def _left(self, message: Message) -> None:
        who = message["who"]
        if message["n"] != self._me and self._hub.connections.tablet(who):
            self._hub.spawn(self._lead_again(who))

    def _to_headset(self, message: Message) -> None:
        headset = self._hub.connections.headset(message["d"])
        event = OUTBOUND.get(message["e"])
        # A later socket of the same headset is brought into step when it identifies.
        if headset is not None and event is not None and headset.sid == message["sid"]:
            self._hub.outbox.send(headset, event, *message["a"])

    def _to_tablet(self, message: Message) -> None:
        event = OUTBOUND.get(message["e"])
        if message["n"] != self._me and event is not None:
            sockets = self._hub.connections.tablet(message["who"])
            self._hub.outbox.send(sockets, event, *message["a"])

    # -- After a cut -------------------------------------------------------------------------------

    async def resynchronise(self) -> None:
        """The fleet as the store has it now; then the store as this node's sockets are.

        Raises:
            StoreUnavailable: it went away again.
        """
        hub = self._hub
        highest = max((d.revision for d in hub.view.devices.values()), default=0)
        lost = await hub.store.raise_revision(highest)
        if lost:
            log.warning("state_store_lost_changes", known_revision=highest)
        before = set(hub.view.devices)
        await hub.changes.step_back()
        loaded = await hub.store.load_all()
        for device, telemetry in loaded:
            self.learn(device, force=lost)
            known = hub.view.devices[device.device_id]
            if telemetry is not None and known.last_seen <= device.last_seen:
                hub.seen(device.device_id, device.last_seen, telemetry)
        gone = before - {device.device_id for device, _ in loaded}
        if gone:
            self._gone({"ids": sorted(gone)})
        await self._back()
