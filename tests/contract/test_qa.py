"""``/api/qa-metrics`` of a server that knows some recordings."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from support import Server, dashboard, new_id, tablet

from quest_backend.api.qa_models import QAMetrics, QAPage, QASessionBody, QASummary
from quest_backend.clock import Clock
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.qa.judge import Judge
from quest_backend.qa.recording import missing
from quest_backend.qa.report import SessionQA
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import BUILT_IN
from quest_backend.state import keys
from quest_backend.state.qa import QaStore, fingerprint
from quest_backend.state.valkey import Valkey

pytestmark = pytest.mark.asyncio

NOW = 1_770_388_252_123
IDS = [f"20260206_14{number:02}00" for number in range(12)]
_EMPTY = score_session(IDS[0], missing(), None)


def session(session_id: str, score: float) -> SessionQA:
    """A readable recording without a video: WARN from a score of 60, else FAIL."""
    made = copy.deepcopy(_EMPTY)
    made["sessionId"] = session_id
    made["status"] = "complete"
    made["overallQualityScore"] = score
    made["extended"]["hands"]["left"]["trackedPercent"] = 100
    made["extended"]["hands"]["right"]["trackedPercent"] = 100
    stages = made["stages"]
    stages["stage2_captureQuality"]["score"] = score
    stages["stage12_trackingConfidence"]["score"] = score
    stages["stage10_validationTests"] = {
        "npzIntegrityCheck": True,
        "frameCountCheck": True,
        "timestampConsistency": True,
        "score": 100,
    }
    return made


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[QaStore]:
    """As a worker has it."""
    valkey = Valkey(f"unix://{server.data_dir}/valkey/valkey.sock", 5)
    try:
        yield QaStore(valkey, Clock(), Judge.of(BUILT_IN, "standard"))
    finally:
        await valkey.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Twelve recordings; their scores are 50, 55 … 95, 0, 5."""
    running = Server(tmp_path_factory.mktemp("qa")).start()

    async def fill() -> None:
        async with opened(running) as store:
            for number, session_id in enumerate(IDS):
                made = session(session_id, (50 + 5 * number) % 100)
                await store.put(made, fingerprint(session_id, None), NOW)

    asyncio.run(fill())
    yield running
    running.stop()
    log = running.log.read_text()
    assert "request_failed" not in log, log
    assert "background_work_failed" not in log, log


async def get(server: Server, path: str = "", **query: Any) -> httpx.Response:
    async with server.http(admin=True) as http:
        return await http.get(f"/api/qa-metrics{path}", params=query)


async def test_the_bare_list_is_the_schemas_object(lab: Server) -> None:
    reply = await get(lab)
    body = reply.json()
    QAMetrics.model_validate(body)
    assert set(body) == {"ok", "overview", "sessions", "aggregateStats"}
    assert [each["sessionId"] for each in body["sessions"]] == IDS
    assert set(body["sessions"][0]) == {
        "sessionId", "captureDate", "status", "stages", "overallQualityScore",
    }  # fmt: skip
    scores = [each["overallQualityScore"] for each in body["sessions"]]
    assert body["overview"]["totalSessions"] == body["overview"]["completeSessions"] == 12
    assert body["overview"]["lastUpdated"].endswith("Z")
    assert body["aggregateStats"] == {
        "avgCaptureQuality": round(sum(scores) / 12, 2),
        "avgTrackingConfidence": round(sum(scores) / 12, 2),
        "avgValidationScore": 100,
        "sessionsWithIssues": sum(score < 80 for score in scores),
    }


async def test_the_summary_is_the_list_without_its_sessions(lab: Server) -> None:
    whole, summary = (await get(lab)).json(), (await get(lab, "/summary")).json()
    QASummary.model_validate(summary)
    assert summary == {
        "ok": True,
        "overview": whole["overview"],
        "aggregateStats": whole["aggregateStats"],
        "sessionCount": 12,
    }


async def test_pages_go_over_every_session_once(lab: Server) -> None:
    for sort, key in (("-date", "sessionId"), ("score", "overallQualityScore")):
        rows: list[Any] = []
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            page = (await get(lab, sort=sort, limit=5, cursor=page["next"])).json()
            QAPage.model_validate(page)
            assert page["total"] == 12
            rows += page["sessions"]
        values = [row[key] for row in rows]
        assert values == sorted(values, reverse=sort.startswith("-"))
        assert sorted(row["sessionId"] for row in rows) == IDS


async def test_filters_join(lab: Server) -> None:
    page = (await get(lab, verdict=["FAIL", "PASS"], since="2026-02-06T14:01:00Z")).json()
    # Of 50, 55, 0 and 5, all but the first.
    assert [row["overallQualityScore"] for row in page["sessions"]] == [5, 0, 55]
    assert {row["verdict"] for row in page["sessions"]} == {"FAIL"}
    assert page["total"] == 3
    assert page["next"] is None
    # The same moment in another zone.
    zoned = (await get(lab, verdict="FAIL", since="2026-02-06T15:01:00+01:00")).json()
    assert zoned == page


async def test_one_session_says_why(lab: Server) -> None:
    body = (await get(lab, f"/{IDS[1]}")).json()
    QASessionBody.model_validate(body)
    assert body["ok"]
    assert (body["verdict"], body["profile"], body["review"]) == ("FAIL", "standard", None)
    assert "FAIL: the overall score is 55 points, not at least 60 points" in body["reasons"]
    assert body["extended"]["hands"]["left"]["trackedPercent"] == 100
    gone = await get(lab, "/20250101_000000")
    assert (gone.status_code, gone.json()) == (404, {"ok": False, "error": "Session not found"})


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"cursor": "GOOD:x"}, {"cursor": "x" * 500},
     {"verdict": "GOOD"}, {"review": "stale"}, {"since": "yesterday"},
     {"since": "0001-01-01T00:00:00+14:00"}, {"sort": "name"}],
)  # fmt: skip
async def test_bad_questions_are_refused_in_a_sentence(lab: Server, query: Any) -> None:
    reply = await get(lab, **query)
    assert reply.status_code == 400
    assert not reply.json()["ok"]
    assert reply.json()["error"]


@pytest.mark.parametrize("path", ["", "/summary", f"/{IDS[0]}", f"/{IDS[0]}/files"])
async def test_only_admins_see_it(lab: Server, path: str) -> None:
    async with lab.http() as nobody, lab.http(new_id("tablet"), DeviceType.TABLET) as operator:
        assert (await nobody.get(f"/api/qa-metrics{path}")).status_code == 401
        assert (await operator.get(f"/api/qa-metrics{path}")).status_code == 403


async def test_a_review_is_kept_with_who_and_when_and_audited(lab: Server) -> None:
    path = f"/api/qa-metrics/{IDS[3]}"
    async with lab.http(admin=True) as admin:
        given = {"decision": "rejected", "reason": "  glove on the left hand "}
        reply = await admin.put(f"{path}/review", json=given)
        review = reply.json()["review"]
        assert review == {
            "decision": "rejected", "reason": "glove on the left hand", "by": "admin",
            "at": review["at"], "stale": False,
        }  # fmt: skip
        assert (await admin.get(path)).json()["review"] == review
        listed = (await admin.get("/api/qa-metrics?review=rejected")).json()
        assert [row["sessionId"] for row in listed["sessions"]] == [IDS[3]]
        cleared = await admin.put(f"{path}/review", json={"decision": None})
        assert cleared.json() == {"ok": True, "review": None}
        trail = (await admin.get("/api/audit", params={"search": IDS[3]})).json()["entries"]
        assert [(row["actor"], row["action"], row["detail"]) for row in trail] == [
            ("admin", "review.clear", ""),
            ("admin", "review.reject", "glove on the left hand"),
        ]


async def test_a_reviewer_who_says_a_name_is_kept_under_it(lab: Server) -> None:
    """As a claim: the audit trail still says that it was done with the admin key."""
    path = f"/api/qa-metrics/{IDS[5]}"
    said = {"X-Admin-Name": quote("  Zoë  Łuczak ")}
    async with lab.http(admin=True) as admin:
        for decision in ("accepted", None):
            reply = await admin.put(f"{path}/review", json={"decision": decision}, headers=said)
            assert reply.status_code == 200, reply.text
            if decision:
                assert reply.json()["review"]["by"] == "Zoë Łuczak"
                assert (await admin.get(path)).json()["review"] == reply.json()["review"]
        found = {"search": f"łuczak {IDS[5]}"}
        trail = (await admin.get("/api/audit", params=found)).json()["entries"]
        assert [(row["actor"], row["name"], row["action"]) for row in trail] == [
            ("admin", "Zoë Łuczak", "review.clear"),
            ("admin", "Zoë Łuczak", "review.accept"),
        ]


@pytest.mark.parametrize(
    "name", ["x" * 81, "%ff", "Ada%E2%80%AEAdmin", "Ada%00"], ids=["long", "bytes", "turned", "nul"]
)
async def test_a_name_that_could_deceive_is_refused(lab: Server, name: str) -> None:
    async with lab.http(admin=True) as admin:
        reply = await admin.put(
            f"/api/qa-metrics/{IDS[5]}/review",
            json={"decision": "accepted"},
            headers={"X-Admin-Name": name},
        )
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("X-Admin-Name must")
        assert (await admin.get(f"/api/qa-metrics/{IDS[5]}")).json()["review"] is None


@pytest.mark.parametrize(
    "given", [{}, {"decision": "maybe"}, {"decision": "accepted", "reason": "x" * 1001}, []]
)
async def test_a_bad_review_changes_nothing(lab: Server, given: Any) -> None:
    async with lab.http(admin=True) as admin:
        path = f"/api/qa-metrics/{IDS[4]}/review"
        reply = await admin.put(path, json=given)
        assert reply.status_code == 400
        no_json = await admin.put(path, content=b"{x", headers={"Content-Type": "application/json"})
        assert no_json.json() == {"ok": False, "error": "body: JSON decode error"}
        assert (await admin.get(f"/api/qa-metrics/{IDS[4]}")).json()["review"] is None
        unknown = await admin.put(
            "/api/qa-metrics/20250101_000000/review", json={"decision": "accepted"}
        )
        assert unknown.status_code == 404


async def test_a_new_result_is_told_to_dashboards_and_to_its_tablet(server: Server) -> None:
    folder, capture = "20260301_100000", "session_of_a_test"
    async with (
        opened(server) as store,
        tablet(server) as operator,
        tablet(server) as other,
        dashboard(server) as viewer,
        dashboard(server) as unsubscribed,
    ):
        await viewer.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        client = store._valkey.client
        await client.hset(keys.upload_folder(folder), "video", "u1")
        await client.hset(keys.upload("u1"), mapping={"sessionId": capture, "deviceId": "QUEST_1"})
        await client.hset(keys.session(capture), "tabletIdentity", operator.identity)
        await store.put(session(folder, 61.5), fingerprint("a", None), NOW)
        for client_ in (viewer, operator):
            told = await client_.gets(catalogue.ON_QA_COMPLETED)
            assert told == {
                "sessionId": folder, "overallQualityScore": 61.5, "verdict": "WARN",
                "captureSessionId": capture, "deviceId": "QUEST_1",
            }  # fmt: skip
        await other.settled()
        assert other.seen(catalogue.ON_QA_COMPLETED) == []
        assert unsubscribed.seen(catalogue.ON_QA_COMPLETED) == []


def _of(folder: str) -> Callable[[Any], bool]:
    return lambda told: bool(told["sessionId"] == folder)


async def test_a_tablet_that_watches_the_fleet_hears_of_it_once(server: Server) -> None:
    async with opened(server) as store, tablet(server) as operator:
        await operator.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        client = store._valkey.client
        for folder in ("20260301_110000", "20260301_110001"):
            await client.hset(keys.upload_folder(folder), "video", "u2")
            await client.hset(keys.upload("u2"), mapping={"sessionId": "s2", "deviceId": "Q"})
            await client.hset(keys.session("s2"), "tabletIdentity", operator.identity)
            await store.put(session(folder, 61.5), fingerprint("a", None), NOW)
            await operator.gets(catalogue.ON_QA_COMPLETED, _of(folder))
        # The first one's second telling would have come before the second one's first.
        told = [each["sessionId"] for each in operator.seen(catalogue.ON_QA_COMPLETED)]
        assert told.count("20260301_110000") == 1


async def test_metrics_count_by_verdict_and_review(lab: Server) -> None:
    async with lab.http(admin=True) as admin:
        lines = (await admin.get("/metrics")).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("turing_qa_"))
    assert values['turing_qa_sessions{review="open",verdict="FAIL"}'] == "4.0"
    assert values['turing_qa_sessions{review="open",verdict="WARN"}'] == "8.0"
    assert values['turing_qa_scored_total{verdict="WARN"}'] == "8.0"
    assert values['turing_qa_average_score{stage="validation"}'] == "100.0"
    assert values["turing_qa_score_count"] == "12.0"


async def test_the_openapi_document_describes_what_is_answered(lab: Server) -> None:
    async with lab.http() as http:
        document = (await http.get("/openapi.json")).json()
    for path, query in (("", {}), ("", {"limit": 3}), ("/summary", {}), ("/{session_id}", {})):
        body = (await get(lab, path.format(session_id=IDS[0]), **query)).json()
        answer = document["paths"][f"/api/qa-metrics{path}"]["get"]["responses"]["200"]
        schema = answer["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": document["components"]})
