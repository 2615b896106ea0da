"""Telemetry, status and logs of headsets."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import orjson
import structlog

from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.protocol.limits import HISTORY_SAMPLE_S
from quest_backend.realtime.connections import Connection, device_room
from quest_backend.realtime.gateway import Refused, handles
from quest_backend.realtime.hub import Hub
from quest_backend.realtime.recording import Recording, identified
from quest_backend.realtime.relay import Relay
from quest_backend.state.valkey import StoreUnavailable

log = structlog.get_logger()

_FLUSH_S = 0.5


class Telemetry:
    """The view and dashboards get it at once, Valkey a moment later."""

    def __init__(self, hub: Hub, recording: Recording, relay: Relay) -> None:
        self._hub = hub
        self._relay = relay
        self._recording = recording
        self._sample_at: dict[str, float] = {}

    @handles(catalogue.DEVICE_TELEMETRY)
    def receive(self, connection: Connection, sent: dict[str, Any]) -> Awaitable[None] | None:
        """A headset's telemetry of itself."""
        hub = self._hub
        if not hub.gathering.armed:
            hub.gathering.arm(asyncio.get_running_loop())
        device_id = identified(connection)
        if sent.get("deviceId") not in (None, device_id):
            raise Refused(ErrorCode.DEVICE_ID_MISMATCH, "Telemetry of another device")
        telemetry = {**sent, "deviceId": device_id}
        try:
            orjson.dumps(telemetry)
        except TypeError as error:  # integers beyond 64 bits, lone surrogates
            raise InvalidPayload(ErrorCode.INVALID_TELEMETRY, f"telemetry: {error}") from None
        now = hub.clock.iso()
        device = hub.seen(device_id, now, telemetry)
        if device is None:
            return None
        hub.telemetry.put(device_id, telemetry, now, device.session_id)
        self._relay.telemetry(device_id, now, telemetry)
        if (
            "isRecording" in telemetry
            and not connection.heard_recording.is_set()
            and telemetry["isRecording"] != device.is_recording
        ):
            return self._recording.report(connection, telemetry["isRecording"])
        monotonic = hub.clock.monotonic()
        if monotonic < self._sample_at.get(device_id, 0):
            return None
        self._sample_at[device_id] = monotonic + HISTORY_SAMPLE_S
        return self._sample(device_id)

    async def _sample(self, device_id: str) -> None:
        # With the name as shown then.
        telemetry = self._hub.view.state(device_id)["telemetry"]
        if telemetry is not None:
            await self._hub.store.sample_history(device_id, telemetry)

    def forget(self, device_id: str) -> None:
        """The headset is gone; Valkey remembers when its last sample was."""
        self._sample_at.pop(device_id, None)

    @handles(catalogue.HEADSET_STATUS)
    async def status(self, connection: Connection, data: str) -> None:
        """Passed on to the tablets that watch."""
        self._to_watchers(connection, catalogue.ON_HEADSET_STATUS_UPDATED, data)

    @handles(catalogue.HEADSET_LOGS_PROCESSED)
    async def logs_processed(self, connection: Connection) -> None:
        """Passed on to the device's room."""
        device_id = identified(connection)
        room = self._hub.connections.room(device_room(device_id))
        self._hub.outbox.send(room, catalogue.ON_HEADSET_LOGS_PROCESSED)
        self._relay.event(device_id, catalogue.ON_HEADSET_LOGS_PROCESSED)

    def _to_watchers(self, connection: Connection, event: Any, data: str) -> None:
        device_id = identified(connection)
        room = self._hub.connections.room(device_room(device_id))
        self._hub.outbox.send([one for one in room if one is not connection], event, data)
        self._relay.event(device_id, event, data)

    async def keep_flushing(self) -> None:
        """For ever: write telemetry behind."""
        away = False
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                await self._hub.telemetry.flush()
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning("telemetry_waits_for_store", reason=str(error))
                away = True
