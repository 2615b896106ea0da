"""Telemetry on its way to Valkey: latest wins per headset, written behind, many in one script."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from quest_backend.clock import Clock
from quest_backend.protocol.limits import TELEMETRY_TTL_S
from quest_backend.state.valkey import StoreUnavailable, Valkey

# Nobody else is served while a script runs: so many headsets take it about a millisecond.
_PER_SCRIPT = 100


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
        now_ms = str(self._clock.unix_ms())
        try:
            while batch:
                some = dict(islice(batch.items(), _PER_SCRIPT))
                await self._valkey.script(
                    "write_telemetry",
                    rows=[_row(device_id, latest) for device_id, latest in some.items()],
                    now_ms=now_ms,
                    telemetry_ttl=TELEMETRY_TTL_S,
                )
                for device_id in some:
                    del batch[device_id]
        except StoreUnavailable:
            self._pending = {**batch, **self._pending}
            raise


def _row(device_id: str, latest: _Latest) -> list[str]:
    telemetry = latest.telemetry
    frames = str(int(telemetry["frameCount"])) if "frameCount" in telemetry else ""
    return [device_id, orjson.dumps(telemetry).decode(), latest.seen, latest.session_id, frames]
