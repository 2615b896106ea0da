"""Results whose recordings are gone from the bucket are forgotten."""

from dataclasses import dataclass
from typing import Protocol

import structlog

from quest_backend.protocol.recordings import PREFIX, FileType, key_of
from quest_backend.state.qa import QaStore

log = structlog.get_logger()

_RESULTS = 500
_KEYS = 1000


class Bucket(Protocol):
    """What is asked of the object store."""

    async def keys_from(self, prefix: str, start: str, count: int = ...) -> list[str]:
        """At most ``count`` keys under ``prefix``, in order, those after ``start``."""

    async def head(self, key: str) -> object | None:
        """The object, or None."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Results that were looked at, and those whose recordings were gone."""

    checked: int
    removed: int


async def forget_gone(results: QaStore, bucket: Bucket) -> Forgotten:
    """Go over all results, and forget those of which the bucket has neither file.

    Raises:
        StoreUnavailable: Valkey is away.
        Exception: what ``bucket`` raises when it is away; nothing is forgotten by mistake.
    """
    checked = removed = 0
    after: str | None = ""
    while after is not None:
        page = await results.page(after, _RESULTS)
        ids = [each["sessionId"] for each in page.sessions]
        after = page.after
        checked += len(ids)
        for session_id in await _missing(bucket, ids):
            removed += await _forget(results, bucket, session_id)
    if removed:
        log.info("qa_results_forgotten", removed=removed, checked=checked)
    return Forgotten(checked, removed)


async def _missing(bucket: Bucket, ids: list[str]) -> list[str]:
    """Those of ``ids``, which are in order, that the bucket does not list."""
    if not ids:
        return []
    found: set[str] = set()
    # With the slash: SeaweedFS skips all of a folder that a listing is to start after.
    start, end = f"{PREFIX}{ids[0]}/", f"{PREFIX}{ids[-1]}/"
    while True:
        keys = await bucket.keys_from(PREFIX, start, _KEYS)
        found.update(key.removeprefix(PREFIX).partition("/")[0] for key in keys)
        if len(keys) < _KEYS or keys[-1] > end + "~":
            return [each for each in ids if each not in found]
        start = keys[-1]


async def _forget(results: QaStore, bucket: Bucket, session_id: str) -> bool:
    # Asked for itself: an upload may have ended since the listing.
    for file_type in FileType:
        if await bucket.head(key_of(session_id, file_type)) is not None:
            return False
    return await results.remove(session_id)
