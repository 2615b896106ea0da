"""QA results in Valkey 9 and Redis 7: kept once, with sums that always fit."""

import asyncio
import copy
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from recordings import SESSION

from quest_backend.clock import Clock
from quest_backend.qa.aggregates import Totals, share_of
from quest_backend.qa.judge import Judge
from quest_backend.qa.recording import missing
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import BUILT_IN
from quest_backend.state.qa import Put, QaStore, fingerprint
from quest_backend.state.valkey import StoreUnavailable, Valkey

pytestmark = pytest.mark.asyncio

EMPTY = score_session(SESSION, missing(), None)
NOW = 1_770_388_252_123
STANDARD_JUDGE = Judge.of(BUILT_IN, "standard")


def session(session_id: str = SESSION, score: float = 90.0) -> SessionQA:
    made = copy.deepcopy(EMPTY)
    made["sessionId"] = session_id
    made["overallQualityScore"] = score
    made["stages"]["stage2_captureQuality"]["score"] = score
    return made


@asynccontextmanager
async def opened(url: str, judge: Judge = STANDARD_JUDGE) -> AsyncIterator[QaStore]:
    valkey = Valkey(url, 2)
    try:
        yield QaStore(valkey, Clock(), judge)
    finally:
        await valkey.close()


async def test_a_result_is_kept_and_comes_back_as_it_was(store_url: str) -> None:
    async with opened(store_url) as store:
        assert await store.get(SESSION) is None
        assert await store.put(EMPTY, fingerprint("a", "b"), NOW) is Put.KEPT
        assert await store.get(SESSION) == EMPTY
        totals, updated = await store.totals()
        assert totals == share_of(EMPTY)
        assert updated.endswith("Z")


async def test_the_same_job_done_again_changes_nothing(store_url: str) -> None:
    async with opened(store_url) as store:
        version = fingerprint("a", None)
        done = await asyncio.gather(*(store.put(session(), version, NOW) for _ in range(20)))
        assert sorted(done) == [Put.KEPT] + [Put.SAME] * 19
        assert (await store.totals())[0] == share_of(session())


async def test_newer_files_replace_and_older_ones_do_not(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.put(session(score=50), fingerprint("old", None), NOW)
        assert await store.put(session(score=91), fingerprint("new", None), NOW + 1) is Put.KEPT
        assert await store.put(session(score=50), fingerprint("old", None), NOW) is Put.OLDER
        found = await store.get(SESSION)
        assert found is not None
        assert found["overallQualityScore"] == 91
        assert (await store.totals())[0] == share_of(session(score=91))


async def test_a_video_that_comes_later_is_another_version(store_url: str) -> None:
    assert len({fingerprint("a", None), fingerprint("a", "b"), fingerprint(None, "a")}) == 3


async def test_sums_fit_the_results_after_many_changes_at_once(store_url: str) -> None:
    chance = random.Random(5)
    async with opened(store_url) as one, opened(store_url) as other:

        async def change(number: int) -> None:
            store = one if number % 2 else other
            session_id = f"20260206_1430{chance.randrange(30):02}"
            if chance.random() < 0.3:
                await store.remove(session_id)
            else:
                made = session(session_id, chance.randrange(10_001) / 100)
                await store.put(made, fingerprint(str(number), None), NOW + number)

        await asyncio.gather(*(change(number) for number in range(400)))
        page = await one.page(limit=500)
        expected = Totals()
        for each in page.sessions:
            expected += share_of(each)
        assert page.sessions
        assert (await other.totals())[0] == expected


async def test_removing_takes_a_session_out_of_everything(store_url: str) -> None:
    async with opened(store_url) as store:
        await store.put(session(), fingerprint("a", "b"), NOW)
        assert await store.remove(SESSION)
        assert not await store.remove(SESSION)
        assert (await store.totals())[0] == Totals()
        assert (await store.page()).sessions == ()
        assert await store.fingerprints([SESSION]) == {}


async def test_a_refresh_learns_what_is_known(store_url: str) -> None:
    ids = [f"s{number:04}" for number in range(1100)]
    async with opened(store_url) as store:
        for start in range(0, 1000, 100):
            await asyncio.gather(*(store.put(session(each), fingerprint(each, None), NOW)
                                   for each in ids[start : start + 100]))  # fmt: skip
        known = await store.fingerprints(ids)
        assert known == {each: fingerprint(each, None) for each in ids[:1000]}


async def test_pages_go_over_every_session_once_in_order(store_url: str) -> None:
    ids = [f"20260206_14{number:04}" for number in range(25)]
    async with opened(store_url) as store:
        for session_id in reversed(ids):
            await store.put(session(session_id), fingerprint(session_id, None), NOW)
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await store.page(after, limit=10)
            seen += [each["sessionId"] for each in page.sessions]
            after = page.after
        assert seen == ids


async def test_a_store_that_is_away_is_a_clear_error() -> None:
    async with opened("redis://127.0.0.1:1/0") as store:
        with pytest.raises(StoreUnavailable):
            await store.totals()
