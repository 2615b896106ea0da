"""New QA results as they come, from any process: the stream that ``QaStore.put`` writes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from quest_backend.state import keys
from quest_backend.state.qa import Origin
from quest_backend.state.valkey import StoreUnavailable, Valkey

log = structlog.get_logger()

_AT_ONCE = 100
_AWAY_S = 0.5


@dataclass(frozen=True, slots=True)
class QaResult:
    """A recording was measured. ``score`` is 0..100, ``verdict`` as its process decided.

    ``modified_ms`` is when its newer file was written (Unix ms).
    """

    session_id: str
    score: float
    verdict: str
    origin: Origin
    modified_ms: int


class QaNews:
    """Follows the stream from where it ends when this is made ready."""

    def __init__(self, valkey: Valkey, timeout_s: float) -> None:
        self._valkey = valkey
        # An answer has to come before the connection is given up.
        self._wait_ms = max(1, int(timeout_s * 500))
        self._last = ""

    async def ready(self) -> None:
        """From here on.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        newest = await self._valkey.call(self._valkey.client.xrevrange(keys.QA_NEWS, count=1))
        self._last = newest[0][0] if newest else "0-0"

    async def follow(self) -> AsyncIterator[QaResult]:
        """For ever. What came while Valkey was away comes afterwards."""
        away = False
        while True:
            try:
                found = await self._valkey.read_streams(
                    {keys.QA_NEWS: self._last}, _AT_ONCE, self._wait_ms
                )
                away = False
            except StoreUnavailable as error:
                if not away:
                    log.warning("qa_news_wait_for_store", reason=str(error))
                away = True
                await asyncio.sleep(_AWAY_S)
                continue
            for _, entries in found or ():
                for entry_id, row in entries:
                    self._last = entry_id
                    yield QaResult(
                        row["sessionId"], int(row["score"]) / 100, row["verdict"],
                        Origin.read(row["origin"]), int(row["modified"]),
                    )  # fmt: skip
