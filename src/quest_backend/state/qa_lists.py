"""Measured recordings in order, by verdict and review, a page at a time.

A list is one sorted set per verdict and review, its members in the order of their text, so a page
costs the same wherever it lies. A cursor is the last member that was shown.
"""

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from quest_backend.qa.verdict import Verdict
from quest_backend.state import keys
from quest_backend.state.valkey import Valkey

Order = Literal["date", "score", "verdict"]
ACCEPTED, REJECTED, OPEN = "accepted", "rejected", "open"
REVIEWS = (ACCEPTED, REJECTED, OPEN)
VERDICTS = tuple(each.value for each in Verdict)
_ID = r"[a-zA-Z0-9_.-]{1,100}"
_CURSORS: dict[Order, re.Pattern[str]] = {
    "date": re.compile(_ID),
    "score": re.compile(rf"\d{{5}}:{_ID}"),
    "verdict": re.compile(rf"({'|'.join(VERDICTS)}):{_ID}"),
}
_LOOKED_AT = 1000


class BadCursor(ValueError):  # noqa: N818 - an answer
    """The cursor belongs to another order, or to none."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to list. ``since`` is the least session id, '' for all; ``cursor`` '' for the start.

    By verdict, PASS comes before WARN before FAIL, and within one the newest first.
    """

    order: Order = "date"
    descending: bool = True
    verdicts: Sequence[str] = VERDICTS
    reviews: Sequence[str] = REVIEWS
    since: str = ""
    cursor: str = ""
    limit: int = 50

    def check(self) -> None:
        """Raises BadCursor."""
        if self.cursor and not _CURSORS[self.order].fullmatch(self.cursor):
            raise BadCursor(f"cursor: not one of a list in the order of {self.order}")


@dataclass(frozen=True, slots=True)
class Listed:
    """Session ids; ``next`` is the cursor of the page after, or None. ``total``: of all pages."""

    ids: tuple[str, ...]
    next: str | None
    total: int


class QaLists:
    """Reads the lists that ``QaStore`` keeps."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def find(self, query: Query) -> Listed:
        """One page.

        Raises:
            BadCursor: it is not of such a list.
            StoreUnavailable: Valkey is away.
        """
        query.check()
        members = await self._members(replace(query, limit=query.limit + 1))
        shown = members[: query.limit]
        ids = tuple(member.rpartition(":")[2] for member in shown)
        more = shown[-1] if len(members) > len(shown) else None
        return Listed(ids, more, await self._total(query))

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many recordings have which verdict and review.

        Raises:
            StoreUnavailable: Valkey is away.
        """
        pipe = self._valkey.client.pipeline(transaction=False)
        pairs = list(product(VERDICTS, REVIEWS))
        for verdict, review in pairs:
            pipe.zcard(keys.qa_list("date", verdict, review))
        found: dict[str, dict[str, int]] = {verdict: {} for verdict in VERDICTS}
        for (verdict, review), count in zip(
            pairs, await self._valkey.call(pipe.execute()), strict=True
        ):
            found[verdict][review] = int(count)
        return found

    async def _members(self, query: Query) -> list[str]:
        if query.order == "verdict":
            return await self._by_verdict(query)
        if query.order == "score" and query.since:
            return await self._by_score_since(query)
        return await self._merged(query, query.order)

    async def _by_verdict(self, query: Query) -> list[str]:
        start, _, last = query.cursor.partition(":")
        found: list[str] = []
        order = [each for each in VERDICTS if each in query.verdicts]
        for verdict in reversed(order) if query.descending else order:
            if start and verdict != start:
                continue
            part = replace(
                query, verdicts=[verdict], cursor=last, descending=True,
                limit=query.limit - len(found),
            )  # fmt: skip
            found += [f"{verdict}:{each}" for each in await self._merged(part, "date")]
            if len(found) >= query.limit:
                break
            start = last = ""
        return found

    async def _by_score_since(self, query: Query) -> list[str]:
        """Ids are in no order here: those before ``since`` are skipped, without their results."""
        found: list[str] = []
        rest = replace(query, since="", limit=_LOOKED_AT)
        while len(found) < query.limit:
            page = await self._merged(rest, "score")
            found += [member for member in page if member.rpartition(":")[2] >= query.since]
            if len(page) < _LOOKED_AT:
                break
            rest = replace(rest, cursor=page[-1])
        return found[: query.limit]

    async def _merged(self, query: Query, order: str) -> list[str]:
        first = f"[{query.since}" if query.since else "-"
        last = "+"
        if query.cursor and query.descending:
            last = f"({query.cursor}"
        elif query.cursor:
            first = f"({query.cursor}"
        pipe = self._valkey.client.pipeline(transaction=False)
        for verdict, review in product(query.verdicts, query.reviews):
            key = keys.qa_list(order, verdict, review)
            if query.descending:
                pipe.zrevrangebylex(key, last, first, start=0, num=query.limit)
            else:
                pipe.zrangebylex(key, first, last, start=0, num=query.limit)
        lanes = await self._valkey.call(pipe.execute())
        members = list(heapq.merge(*lanes, reverse=query.descending))
        return members[: query.limit]

    async def _total(self, query: Query) -> int:
        pipe = self._valkey.client.pipeline(transaction=False)
        first = f"[{query.since}" if query.since else "-"
        for verdict, review in product(query.verdicts, query.reviews):
            pipe.zlexcount(keys.qa_list("date", verdict, review), first, "+")
        return sum(await self._valkey.call(pipe.execute()))
