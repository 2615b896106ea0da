"""Lists of measured recordings in Valkey 9 and Redis 7: every order and filter, page by page."""

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from recordings import SESSION, arrays, fetcher, npz

from quest_backend.clock import Clock
from quest_backend.qa.judge import Judge
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import read_recording
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import BUILT_IN, profiles
from quest_backend.qa.video import Video
from quest_backend.state import keys
from quest_backend.state.embedded import EmbeddedValkey
from quest_backend.state.qa import Kept, QaStore, Take, fingerprint
from quest_backend.state.qa_lists import OPEN, REVIEWS, VERDICTS, BadCursor, Order, QaLists, Query
from quest_backend.state.qa_news import QaNews
from quest_backend.state.valkey import StoreUnavailable, Valkey

pytestmark = pytest.mark.asyncio

DATA = npz(arrays())
GOOD = score_session(
    SESSION, read(read_recording(len(DATA)), fetcher(DATA)), Video("h264", 320, 180, 600, 10.0)
)
JUDGE = Judge.of(BUILT_IN, "standard")
NOW = 1_770_388_252_123


def session(session_id: str, score: float) -> SessionQA:
    """PASS from 80, WARN from 60, else FAIL."""
    made = copy.deepcopy(GOOD)
    made["sessionId"] = session_id
    made["overallQualityScore"] = score
    return made


@asynccontextmanager
async def opened(url: str, judge: Judge = JUDGE) -> AsyncIterator[tuple[QaStore, QaLists, Valkey]]:
    valkey = Valkey(url, 2)
    try:
        yield QaStore(valkey, Clock(), judge), QaLists(valkey), valkey
    finally:
        await valkey.close()


async def everything(lists: QaLists, query: Query) -> tuple[list[str], set[int]]:
    """The ids of all pages, and what the pages said how many there are."""
    ids: list[str] = []
    totals: set[int] = set()
    while True:
        page = await lists.find(query)
        ids += page.ids
        totals.add(page.total)
        if page.next is None:
            return ids, totals
        query = replace(query, cursor=page.next)


async def filled(store: QaStore, count: int = 60) -> dict[str, tuple[float, str, str]]:
    """Score, verdict and review by session."""
    chance = random.Random(3)
    known = {}
    for number in range(count):
        session_id = f"202602{number // 24 + 1:02}_{number % 24:02}0000"
        # Few different scores, so that many are the same.
        score = chance.choice([0, 55.5, 60, 79.99, 80, 99.5, 100])
        await store.put(session(session_id, score), fingerprint(session_id, None), NOW)
        decision = chance.choice([None, None, "accepted", "rejected"])
        if decision:
            await store.review(session_id, decision, "", "admin")
        verdict = "PASS" if score >= 80 else "WARN" if score >= 60 else "FAIL"
        known[session_id] = (float(score), verdict, decision or OPEN)
    return known


async def test_every_order_and_filter_gives_what_sorting_by_hand_gives(store_url: str) -> None:
    async with opened(store_url) as (store, lists, _):
        known = await filled(store)
        worst = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
        orders: tuple[Order, ...] = ("date", "score", "verdict")
        picks = [(VERDICTS, REVIEWS), (("FAIL", "WARN"), REVIEWS), (VERDICTS, (OPEN,)),
                 (("PASS",), ("accepted", "rejected"))]  # fmt: skip
        for order, down, (verdicts, reviews), since, limit in product(
            orders, (True, False), picks, ("", "20260202_050000"), (7, 500)
        ):
            fitting = [
                one for one, (_, verdict, review) in known.items()
                if verdict in verdicts and review in reviews and one >= since
            ]  # fmt: skip
            fitting.sort(reverse=down or order == "verdict")
            if order == "score":
                fitting.sort(key=lambda one: known[one][0], reverse=down)
            if order == "verdict":
                fitting.sort(key=lambda one: worst[known[one][1]] * (-1 if down else 1))
            asked = Query(order, down, verdicts, reviews, since, "", limit)
            ids, totals = await everything(lists, asked)
            assert ids == fitting, asked
            assert totals == {len(fitting)}


async def test_counts_are_those_of_the_lists(store_url: str) -> None:
    async with opened(store_url) as (store, lists, _):
        known = await filled(store)
        counts = await lists.counts()
        for verdict, review in product(VERDICTS, REVIEWS):
            fitting = [one for one in known.values() if one[1:] == (verdict, review)]
            assert counts[verdict][review] == len(fitting)


async def test_a_cursor_of_another_order_is_refused(store_url: str) -> None:
    async with opened(store_url) as (_, lists, _valkey):
        for order, cursor in (("score", SESSION), ("verdict", "99:x"), ("date", "a:b"),
                              ("verdict", f"GOOD:{SESSION}"), ("date", "\n")):  # fmt: skip
            with pytest.raises(BadCursor):
                await lists.find(Query(order=order, cursor=cursor))  # type: ignore[arg-type]


async def test_a_recording_leaves_its_old_lists(store_url: str) -> None:
    async with opened(store_url) as (store, lists, valkey):
        await store.put(session(SESSION, 99), fingerprint("a", None), NOW)
        await store.put(session(SESSION, 10), fingerprint("b", None), NOW + 1)
        assert (await lists.find(Query(verdicts=["PASS"]))).ids == ()
        assert (await lists.find(Query(order="score"))).ids == (SESSION,)
        await store.review(SESSION, "rejected", "dark", "admin")
        assert (await lists.find(Query(reviews=[OPEN]))).total == 0
        await store.remove(SESSION)
        assert await valkey.call(valkey.client.keys("qa_list:*")) == []


async def test_other_thresholds_need_no_new_measurements(store_url: str) -> None:
    mild = Judge.of(profiles({"mild": {"overallQualityScore": {"fail": 5}}}), "mild")
    async with opened(store_url) as (store, lists, _):
        await store.judge_again()
        for number in range(120):
            session_id = f"20260206_{number:06}"
            await store.put(session(session_id, 50), fingerprint(session_id, None), NOW)
        assert (await lists.find(Query(verdicts=["FAIL"]))).total == 120
        assert await store.judge_again() == 0
        before = await store.fingerprints(["20260206_000007"])
    async with opened(store_url, mild) as (store, lists, _):
        assert await store.judge_again() == 120
        assert await store.judge_again() == 0
        assert (await lists.find(Query(verdicts=["PASS"]))).total == 120
        assert await store.fingerprints(["20260206_000007"]) == before


async def uploaded(valkey: Valkey, metadata: str) -> None:
    """As an upload into a capture session leaves it."""
    await valkey.client.hset(keys.upload_folder(SESSION), "data", "u1")
    await valkey.client.hset(keys.upload("u1"), mapping={"sessionId": "s1", "deviceId": "QUEST_1"})
    await valkey.client.hset(
        keys.session("s1"), mapping={"tabletIdentity": "tablet_1", "metadata": metadata}
    )


@pytest.mark.parametrize("metadata", ['{"study": "strict"}', '{"qaProfile": "strict"}'])
async def test_a_study_is_judged_by_the_profile_of_its_name(store_url: str, metadata: str) -> None:
    async with opened(store_url) as (store, lists, valkey):
        await uploaded(valkey, metadata)
        await store.put(session(SESSION, 90), fingerprint("a", None), NOW)
        assert (await lists.find(Query(verdicts=["WARN"]))).ids == (SESSION,)
        [kept] = await store.read([SESSION])
        assert judged(kept) == ("WARN", "strict")
        # The upload is forgotten after some days; where the recording came from is not.
        await valkey.client.delete(keys.upload("u1"), keys.session("s1"))
        await store.put(session(SESSION, 91), fingerprint("b", None), NOW + 1)
        [kept] = await store.read([SESSION])
        assert kept.origin.capture_session == "s1"
        assert judged(kept) == ("WARN", "strict")


TOLD = {"participant": " P-017 ", "study": "kitchen", "task": "x" * 300, "take": 3, "notes": "y"}
WRONG = {"participant": 17, "task": ["a"], "take": True, "study": None}


@pytest.mark.parametrize(
    ("told", "take"),
    [(TOLD, Take("P-017", "kitchen", "x" * 200, 3)), (WRONG, Take()), ({"take": -1}, Take()),
     ({"take": 10**30}, Take())],
    ids=["usual", "wrong-types", "negative", "too-large"],
)  # fmt: skip
async def test_what_the_operator_wrote_down_outlives_the_session(
    store_url: str, told: dict[str, Any], take: Take
) -> None:
    async with opened(store_url) as (store, _, valkey):
        await uploaded(valkey, json.dumps(told))
        await store.put(session(SESSION, 90), fingerprint("a", None), NOW)
        await valkey.client.delete(keys.upload("u1"), keys.session("s1"))
        await store.put(session(SESSION, 91), fingerprint("b", None), NOW + 1)
        [kept] = await store.read([SESSION])
    assert kept.origin.take == take


@pytest.mark.parametrize("metadata", ["", "[]", '{"study": 5}', '{"study": "no such profile"}'])
async def test_other_metadata_leaves_the_usual_profile(store_url: str, metadata: str) -> None:
    async with opened(store_url) as (store, _, valkey):
        await uploaded(valkey, metadata)
        await store.put(session(SESSION, 90), fingerprint("a", None), NOW)
        [kept] = await store.read([SESSION])
        assert judged(kept) == ("PASS", "standard")


def judged(kept: Kept) -> tuple[str, str]:
    report = JUDGE.decide(kept.session, kept.origin.wanted)
    return report["verdict"], report["profile"]


async def test_a_review_stays_with_the_files_it_was_made_of(store_url: str) -> None:
    async with opened(store_url) as (store, lists, valkey):
        with pytest.raises(LookupError):
            await store.review(SESSION, "accepted", "", "admin")
        await store.put(session(SESSION, 90), "1:a:b", NOW)
        await store.review(SESSION, "accepted", "good", "admin")
        # Other measures of the same files, then other files, then the old ones again.
        for version, stale in (("2:a:b", False), ("2:a:c", True), ("3:a:b", False)):
            await store.put(session(SESSION, 90), version, NOW)
            [kept] = await store.read([SESSION])
            assert kept.review is not None
            assert (kept.review.decision, kept.review.stale) == ("accepted", stale)
            listed = await lists.find(Query(reviews=[OPEN]))
            assert listed.total == (1 if stale else 0)
        await store.remove(SESSION)
        await store.put(session(SESSION, 90), "3:a:b", NOW)
        assert (await lists.find(Query(reviews=["accepted"]))).total == 1
        assert await store.review(SESSION, None, "", "admin") is None
        assert not await valkey.client.exists(keys.qa_review(SESSION))
        assert (await lists.find(Query(reviews=[OPEN]))).total == 1


async def test_news_come_once_per_new_result_from_any_process(store_url: str) -> None:
    async with opened(store_url) as (store, _, valkey), opened(store_url) as (other, _lists, _):
        await uploaded(valkey, "{}")
        await store.put(session("20260101_000000", 70), fingerprint("a", None), NOW)
        news = QaNews(valkey, 2)
        await news.ready()
        results = news.follow()
        for each in (store, other, store):
            await each.put(session(SESSION, 90.25), fingerprint("a", None), NOW)
        await other.put(session(SESSION, 10), fingerprint("b", None), NOW + 1)
        async with asyncio.timeout(5):
            first, second = await anext(results), await anext(results)
        await results.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert (first.session_id, first.score, first.verdict) == (SESSION, 90.25, "PASS")
        assert (first.origin.tablet, first.origin.device_id) == ("tablet_1", "QUEST_1")
        assert (second.score, second.verdict, second.modified_ms) == (10.0, "FAIL", NOW + 1)


async def test_news_go_on_after_valkey_was_away(tmp_path: Path) -> None:
    child = EmbeddedValkey(tmp_path)
    url = await child.start()
    async with opened(url) as (store, _, valkey):
        news = QaNews(valkey, 0.5)
        await news.ready()
        results = news.follow()
        coming = asyncio.ensure_future(anext(results))
        await child.stop()
        with pytest.raises(StoreUnavailable):
            await store.put(session(SESSION, 90), fingerprint("a", None), NOW)
        await child.start()
        async with opened(url) as (worker, _, _valkey):
            await worker.put(session(SESSION, 90), fingerprint("a", None), NOW)
        async with asyncio.timeout(20):
            assert (await coming).session_id == SESSION
        await results.aclose()  # type: ignore[attr-defined]  # it is a generator
    await child.stop()


async def test_the_whole_list_streams_in_pages_of_the_schemas_part(store_url: str) -> None:
    async with opened(store_url) as (store, _, _valkey):
        assert [page async for page in store.stream()] == []
        for number in range(25):
            session_id = f"20260206_14{number:04}"
            await store.put(session(session_id, 90), fingerprint(session_id, None), NOW)
        pages = [page async for page in store.stream(10)]
        assert [len(page) for page in pages] == [10, 10, 5]
        assert '"sessionId":"20260206_140000"' in pages[0][0]
        assert "extended" not in "".join(pages[0])
