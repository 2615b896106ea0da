"""Telemetry on its way to Valkey: latest wins per headset, written behind in one pipeline."""

from dataclasses import dataclass
from typing import Any

import orjson

from quest_backend.clock import Clock
from quest_backend.protocol.limits import DEVICE_STATE_TTL_S, TELEMETRY_TTL_S
from quest_backend.state import keys
from quest_backend.state.valkey import StoreUnavailable, Valkey


@dataclass(frozen=True, slots=True)
class _Latest:
    telemetry: dict[str, Any]
    seen: str
    session_id: str


class TelemetryWriter:
    """Holds at most one telemetry per headset, so it is bounded by the fleet."""

    def __init__(self, valkey: Valkey, clock: Clock) -> None:
        self._valkey = valkey
        self._clock = clock
        self._pending: dict[str, _Latest] = {}

    def put(self, device_id: str, telemetry: dict[str, Any], seen: str, session_id: str) -> None:
        """Take the newest telemetry of a headset; ``seen`` is when it came."""
        self._pending[device_id] = _Latest(telemetry, seen, session_id)

    async def flush(self) -> None:
        """Write what is pending; keep it for the next time when Valkey is away.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        batch, self._pending = self._pending, {}
        if not batch:
            return
        pipe = self._valkey.client.pipeline(transaction=False)
        now_ms = self._clock.unix_ms()
        for device_id, latest in batch.items():
            text = orjson.dumps(latest.telemetry).decode()
            pipe.set(keys.telemetry(device_id), text, ex=TELEMETRY_TTL_S)
            pipe.hset(keys.device(device_id), "lastSeen", latest.seen)
            pipe.expire(keys.device(device_id), DEVICE_STATE_TTL_S)
            pipe.zadd(keys.DEVICES, {device_id: now_ms})
            if latest.session_id and "frameCount" in latest.telemetry:
                pipe.hset(
                    keys.session_devices(latest.session_id),
                    f"{device_id}:frameCount",
                    str(int(latest.telemetry["frameCount"])),
                )
        try:
            await self._valkey.call(pipe.execute())
        except StoreUnavailable:
            self._pending = {**batch, **self._pending}
            raise
