"""Starting and stopping headsets, and what they say of it."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from quest_backend.fleet.devices import Device
from quest_backend.fleet.recording import Command, denial, ignores, may_control
from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode
from quest_backend.realtime import reach
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.gateway import Refused, handles
from quest_backend.realtime.hub import Hub

log = structlog.get_logger()

# What a headset has not done after this is said again, so many times: it may not be able to.
_AGAIN_S = 2.0
_TIMES_AGAIN = 5
_EVENTS = {
    Command.START: catalogue.ON_TABLET_START_RECORDING,
    Command.STOP: catalogue.ON_TABLET_STOP_RECORDING,
}


class Recording:
    """Commands are explicit, never the toggle: a toggle inverts a headset that is out of step."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def order(self, device_ids: Sequence[str], command: Command) -> list[str]:
        """Tell headsets to start or stop; ids of those that did not do it anyway."""
        if not device_ids:
            return []
        told = await self._hub.store.command(device_ids, command.value)
        self._hub.committed(told)
        await self.tell(told, command)
        return [device.device_id for device in told]

    async def tell(self, devices: Sequence[Device], command: Command) -> None:
        """Tell headsets what is committed. One that is not reached is told again."""
        await reach.headsets(self._hub, devices, _EVENTS[command])

    async def keep_telling(self) -> None:
        """For ever: tell this node's headsets again what they were told and do not do.

        A command is committed before it is sent; the server that sent it may be dead, or Valkey may
        have gone away between the two.
        """
        hub, told = self._hub, dict[tuple[str, str], int]()
        while True:
            await asyncio.sleep(_AGAIN_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            before, told = told, {}
            for device_id in hub.connections.headsets():
                device, its = hub.view.devices.get(device_id), hub.connections.headset(device_id)
                if device is None or its is None or not ignores(device, its.said_recording):
                    continue
                order = (its.sid, device.commanded)
                told[order] = before.get(order, 0) + 1
                # Only then has it had the time to do it.
                if 1 < told[order] <= 1 + _TIMES_AGAIN:
                    hub.outbox.send(its, _EVENTS[Command(device.commanded)])
                    log.info("headset_told_again", device=device_id, command=device.commanded)

    async def _one(self, connection: Connection, device_id: str, command: Command) -> Any:
        hub = self._hub
        device = (await hub.store.read([device_id])).get(device_id)
        denied = denial(device, hub.connections.lead_sid(connection))
        if denied is not None:
            hub.outbox.send(connection, catalogue.ON_RECORDING_DENIED, {"deviceId": device_id})
            return {"success": False, "deviceId": device_id, "error": denied.value}
        await self._noted(connection, [device_id], command)
        return {"success": True, "deviceId": device_id}

    async def _noted(
        self, connection: Connection, device_ids: Sequence[str], command: Command
    ) -> None:
        for device_id in await self.order(device_ids, command):
            self._hub.audit.note(connection.identity, f"recording.{command}", device_id)

    async def _all(self, connection: Connection, command: Command, counted: str) -> Any:
        hub = self._hub
        lead = hub.connections.lead_sid(connection)
        held = await hub.store.held(lead)
        devices = await hub.store.read(held)
        denied = {device_id: denial(devices.get(device_id), lead) for device_id in held}
        await self._noted(connection, [one for one in held if denied[one] is None], command)
        results: dict[str, dict[str, Any]] = {
            device_id: {"success": True} if why is None else {"success": False, "error": why.value}
            for device_id, why in denied.items()
        }
        done = sum(result["success"] for result in results.values())
        return {
            "success": done == len(results) and done > 0,
            "results": results,
            counted: done,
            "totalDevices": len(results),
            **({} if results else {"error": "No devices locked by this tablet"}),
        }

    @handles(catalogue.TABLET_START_RECORDING)
    async def start(self, connection: Connection, device_id: str) -> Any:
        """Start one device."""
        return await self._one(connection, device_id, Command.START)

    @handles(catalogue.TABLET_STOP_RECORDING)
    async def stop(self, connection: Connection, device_id: str) -> Any:
        """Stop one device."""
        return await self._one(connection, device_id, Command.STOP)

    @handles(catalogue.TABLET_START_ALL_RECORDING)
    async def start_all(self, connection: Connection) -> Any:
        """Start all devices this tablet holds."""
        return await self._all(connection, Command.START, "startedCount")

    @handles(catalogue.TABLET_STOP_ALL_RECORDING)
    async def stop_all(self, connection: Connection) -> Any:
        """Stop all devices this tablet holds."""
        return await self._all(connection, Command.STOP, "stoppedCount")

    @handles(catalogue.TABLET_TOGGLE_RECORDING)
    async def toggle(self, connection: Connection, device_id: str) -> None:
        """Toggle one device."""
        hub = self._hub
        device = (await hub.store.read([device_id])).get(device_id)
        allowed = device is not None and may_control(device, hub.connections.lead_sid(connection))
        if device is None or not allowed or not await self._toggle(connection, [device]):
            hub.outbox.send(
                connection, catalogue.ON_RECORDING_TOGGLE_DENIED, {"deviceId": device_id}
            )

    @handles(catalogue.TABLET_TOGGLE_ALL_RECORDING)
    async def toggle_all(self, connection: Connection) -> None:
        """Toggle all devices this tablet holds."""
        hub = self._hub
        held = await hub.store.held(hub.connections.lead_sid(connection))
        await self._toggle(connection, (await hub.store.read(held)).values())

    async def _toggle(self, connection: Connection, devices: Iterable[Device]) -> list[str]:
        hub = self._hub
        reached = await reach.headsets(hub, devices, catalogue.ON_TABLET_RECORDING_TOGGLED)
        for device_id in reached:
            hub.audit.note(connection.identity, "recording.toggle", device_id)
        return reached

    @handles(catalogue.TABLET_GET_RECORDING_STATUS)
    async def status(self, connection: Connection, device_id: str) -> None:
        """Whether a headset records."""
        device = self._hub.view.devices.get(device_id)
        active = device is not None and device.is_online and device.is_recording
        event = catalogue.ON_RECORDING_ACTIVE if active else catalogue.ON_RECORDING_INACTIVE
        self._hub.outbox.send(connection, event)

    @handles(catalogue.HEADSET_RECORDING_STATE)
    async def reported(self, connection: Connection, recording: bool) -> None:
        """What the headset says it does."""
        identified(connection)
        # It speaks for itself from now on; telemetry no longer has to.
        connection.heard_recording.set()
        connection.said_recording = recording
        await self.report(connection, recording)

    async def report(self, connection: Connection, recording: bool) -> None:
        """Commit and announce a headset's recording state."""
        hub = self._hub
        device_id = connection.device_id
        device = await hub.store.report_recording(device_id, connection.sid, recording)
        if device is None:
            return
        hub.committed([device])
        tell_recording(hub, device_id, recording)


def tell_recording(hub: Hub, device_id: str, recording: bool) -> None:
    """Tell a device's room that it records, or does not."""
    room = hub.connections.room(device_room(device_id))
    hub.outbox.send(
        room,
        catalogue.ON_DEVICE_RECORDING_CHANGED,
        {"deviceId": device_id, "isRecording": recording},
    )
    legacy = (
        catalogue.ON_HEADSET_RECORDING_ACTIVE
        if recording
        else catalogue.ON_HEADSET_RECORDING_INACTIVE
    )
    hub.outbox.send(room, legacy)


def identified(connection: Connection) -> str:
    """The headset's device id.

    Raises:
        Refused: it has not identified, or was replaced.
    """
    if not connection.device_id:
        raise Refused(ErrorCode.NOT_IDENTIFIED, "Send headset-identify first")
    return connection.device_id
