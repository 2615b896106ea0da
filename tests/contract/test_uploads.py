"""Uploads in parts: whole, resumable, never another headset's."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support import Server, headset, new_id, tablet
from uploading import new_time, stored

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


async def start(
    http: httpx.AsyncClient, timestamp: str, size: int, kind: str = "video", **more: Any
) -> dict[str, Any]:
    body = {"timestamp": timestamp, "fileType": kind, "fileSize": size, **more}
    reply = await http.post("/chunked-upload/start", json=body)
    assert reply.status_code == 200, reply.text
    started: dict[str, Any] = reply.json()
    return started


async def put(url: str, body: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as plain:
        return await plain.put(url, content=body, headers=headers)


async def send_parts(
    started: dict[str, Any], content: bytes, only: set[int] | None = None
) -> list[dict[str, Any]]:
    """Send parts of ``content``, last one first; as ``complete`` wants them."""
    chunk = started["chunkSize"]
    sent = []
    for target in reversed(started["presignedUrls"]):
        number = target["partNumber"]
        if only is not None and number not in only:
            continue
        reply = await put(target["url"], content[(number - 1) * chunk : number * chunk])
        assert reply.status_code == 200, reply.text
        sent.append({"partNumber": number, "etag": reply.headers["etag"]})
    return sent


def names(started: dict[str, Any]) -> dict[str, Any]:
    return {"uploadId": started["uploadId"], "s3Key": started["s3Key"]}


async def complete(
    http: httpx.AsyncClient, started: dict[str, Any], parts: list[dict[str, Any]], **more: Any
) -> httpx.Response:
    body = {**names(started), "parts": parts, **more}
    return await http.post("/chunked-upload/complete", json=body)


async def upload(
    http: httpx.AsyncClient, timestamp: str, content: bytes, kind: str = "video"
) -> dict[str, Any]:
    started = await start(http, timestamp, len(content), kind)
    reply = await complete(http, started, await send_parts(started, content))
    assert reply.status_code == 200, reply.text
    done: dict[str, Any] = reply.json()
    return done


def quest(server: Server, identity: str = "") -> httpx.AsyncClient:
    return server.http(identity or new_id("headset"), DeviceType.HEADSET)


async def test_a_recording_arrives_whole(server: Server) -> None:
    content, timestamp = os.urandom(25 * MIB + 7), new_time()
    async with quest(server) as http:
        started = await start(http, timestamp, len(content))
        assert started["s3Key"] == f"sessions/{timestamp}/recording.mp4"
        assert started["totalParts"] == 3
        assert started["chunkSize"] == 10 * MIB
        assert [one["partNumber"] for one in started["presignedUrls"]] == [1, 2, 3]
        parts = await send_parts(started, content)
        reply = (await http.get("/chunked-upload/status", params=names(started))).json()
        assert [(p["partNumber"], p["size"]) for p in reply["uploadedParts"]] == [
            (1, 10 * MIB), (2, 10 * MIB), (3, 5 * MIB + 7),
        ]  # fmt: skip
        done = (await complete(http, started, parts)).json()
        assert done["ok"]
        assert done["s3Key"] == started["s3Key"]
        assert done["location"] == f"{server.url}/{done['bucket']}/{done['s3Key']}"
        again = await complete(http, started, parts)  # the answer was lost
        assert again.json() == done
    assert await stored(server, done["s3Key"]) == content


async def test_two_headsets_of_one_second_get_a_folder_each(server: Server) -> None:
    timestamp = new_time()
    async with quest(server) as one, quest(server) as other:
        starts = await asyncio.gather(
            *(start(http, timestamp, 100, kind)
              for kind in ("video", "data") for http in (one, other))
        )  # fmt: skip
        folders = [started["s3Key"].split("/")[1] for started in starts]
        assert folders[0] == folders[2]
        assert folders[1] == folders[3]
        assert len(set(folders)) == 2
        assert timestamp in folders
        first = await upload(one, timestamp, b"a" * 100)
        second = await upload(other, timestamp, b"b" * 100)
        assert first["s3Key"] != second["s3Key"]
    assert await stored(server, first["s3Key"]) == b"a" * 100
    assert await stored(server, second["s3Key"]) == b"b" * 100


async def test_a_second_that_was_given_away_is_not_given_to_its_own_recording(
    server: Server,
) -> None:
    """B was moved to the next second; what B records in that second goes one further."""
    moment = datetime.strptime(new_time(), "%Y%m%d_%H%M%S")  # noqa: DTZ007
    times = [f"{moment + timedelta(seconds=n):%Y%m%d_%H%M%S}" for n in range(3)]
    async with quest(server) as a, quest(server) as b:
        await start(a, times[0], 10)
        moved = await start(b, times[0], 10)
        own = await start(b, times[1], 10)
    assert moved["s3Key"].split("/")[1] == times[1]
    assert own["s3Key"].split("/")[1] == times[2]


async def test_a_repeated_start_goes_on_with_the_same_upload(server: Server) -> None:
    content, timestamp = os.urandom(12 * MIB), new_time()
    async with quest(server) as http:
        first = await start(http, timestamp, len(content))
        one = await send_parts(first, content, {1})
        again = await start(http, timestamp, len(content))
        assert names(again) == names(first)
        status = await http.get("/chunked-upload/status", params=names(again))
        assert [p["partNumber"] for p in status.json()["uploadedParts"]] == [1]
        reply = await complete(http, again, one + await send_parts(again, content, {2}))
        assert reply.status_code == 200, reply.text
        other_size = await start(http, timestamp, len(content) - 1)
        assert other_size["uploadId"] != first["uploadId"]
        assert other_size["s3Key"] == first["s3Key"]
    assert await stored(server, first["s3Key"]) == content


async def test_a_start_that_raced_itself_is_one_upload(server: Server) -> None:
    timestamp = new_time()
    async with quest(server) as http:
        starts = await asyncio.gather(*(start(http, timestamp, 6 * MIB) for _ in range(6)))
    assert len({started["uploadId"] for started in starts}) == 1


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("1770388252000", "20260206_143052"),
        (1770388252000, "20260206_143052"),
        ("2026-02-06T15:30:52+01:00", "20260206_143052"),
        ("2026-02-06T14:30:52.123Z", "20260206_143052"),
    ],
)
async def test_other_forms_of_time_become_utc(server: Server, given: Any, folder: str) -> None:
    async with quest(server, "QUEST_OF_ANY_FORM") as http:
        assert (await start(http, given, 5))["s3Key"] == f"sessions/{folder}/recording.mp4"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"timestamp": "20260230_120000"}, 400),
        ({"timestamp": "20260206_250000"}, 400),
        ({"timestamp": "../../etc/passwd"}, 400),
        ({"timestamp": "20260206_143052/x"}, 400),
        ({"timestamp": "session_123"}, 400),
        ({"timestamp": ""}, 400),
        ({"timestamp": None}, 400),
        ({"timestamp": "99999999999999999"}, 400),
        ({"fileType": "exe"}, 400),
        ({"fileSize": 0}, 400),
        ({"fileSize": -1}, 400),
        ({"fileSize": "10"}, 400),
        ({"fileSize": 1.5}, 400),
        ({"fileSize": 100 * 1024**3 + 1}, 413),
        ({"fileName": "x" * 256}, 400),
    ],
)
async def test_a_bad_start_is_refused(server: Server, change: dict[str, Any], status: int) -> None:
    body = {"timestamp": new_time(), "fileType": "video", "fileSize": 10, **change}
    async with quest(server) as http:
        reply = await http.post("/chunked-upload/start", json=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["ok"] is False
    assert isinstance(reply.json()["error"], str)


@pytest.mark.parametrize(
    ("size", "parts", "chunk"),
    [
        (1, 1, 10 * MIB),
        (10 * MIB, 1, 10 * MIB),
        (10 * MIB + 1, 2, 10 * MIB),
        (10_000 * 10 * MIB, 10_000, 10 * MIB),
        (10_000 * 10 * MIB + 1, 9091, 11 * MIB),
        (100 * 1024**3, 9310, 11 * MIB),
    ],
)
async def test_chunks_are_larger_only_where_needed(
    server: Server, size: int, parts: int, chunk: int
) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), size)
        assert (started["totalParts"], started["chunkSize"]) == (parts, chunk)
        assert len(started["presignedUrls"]) == parts
        await http.post("/chunked-upload/abort", json=names(started))


@pytest.mark.parametrize(
    "key",
    ["sessions/20260206_143052/other.mp4", "sessions/../secret", "recording.mp4",
     "sessions/20269906_143052/recording.mp4", "client_output/x.zip",
     "/sessions/20260206_143052/recording.mp4", "sessions/20260206_143052/recording.mp4/"],
)  # fmt: skip
async def test_any_other_key_is_refused(server: Server, key: str) -> None:
    async with quest(server) as http:
        given = {"uploadId": "x", "s3Key": key}
        replies = [
            await http.get("/chunked-upload/status", params=given),
            await http.post("/chunked-upload/presign-part", json={**given, "partNumber": 1}),
            await http.post("/chunked-upload/abort", json=given),
            await http.post(
                "/chunked-upload/complete",
                json={**given, "parts": [{"partNumber": 1, "etag": "e"}]},
            ),
        ]
    assert [reply.status_code for reply in replies] == [400] * 4


async def test_unknown_uploads_are_404(server: Server) -> None:
    given = {"uploadId": "nope", "s3Key": "sessions/20260206_143052/recording.mp4"}
    async with quest(server) as http:
        parts = [{"partNumber": 1, "etag": "e"}]
        replies = [
            await http.get("/chunked-upload/status", params=given),
            await http.post("/chunked-upload/presign-part", json={**given, "partNumber": 1}),
            await http.post("/chunked-upload/abort", json=given),
            await http.post("/chunked-upload/complete", json={**given, "parts": parts}),
        ]
    assert [reply.status_code for reply in replies] == [404] * 4


async def test_only_headsets_tablets_and_admins_upload(server: Server) -> None:
    body = {"timestamp": new_time(), "fileType": "data", "fileSize": 10}
    async with server.http("DASHBOARD_1", DeviceType.DASHBOARD) as http:
        assert (await http.post("/chunked-upload/start", json=body)).status_code == 403
    async with server.http() as http:
        assert (await http.post("/chunked-upload/start", json=body)).status_code == 401
    for allowed in (server.http("TABLET_0001", DeviceType.TABLET), server.http(admin=True)):
        async with allowed as http:
            await upload(http, new_time(), b"0123456789", "data")


async def test_another_headset_cannot_touch_an_upload(server: Server) -> None:
    async with quest(server) as mine, quest(server) as other:
        started = await start(mine, new_time(), 10)
        parts = await send_parts(started, b"0123456789")
        replies = [
            await other.get("/chunked-upload/status", params=names(started)),
            await other.post(
                "/chunked-upload/presign-part", json={**names(started), "partNumber": 1}
            ),
            await other.post("/chunked-upload/abort", json=names(started)),
            await complete(other, started, parts),
        ]
        assert [reply.status_code for reply in replies] == [403] * 4
        assert (await complete(mine, started, parts)).status_code == 200


async def test_missing_and_wrong_parts_are_named_and_the_client_can_go_on(server: Server) -> None:
    content = os.urandom(25 * MIB)
    async with quest(server) as http:
        started = await start(http, new_time(), len(content))
        parts = await send_parts(started, content, {1, 3})
        missing = await complete(http, started, parts)
        assert missing.status_code == 400
        assert missing.json()["missingParts"] == [2]
        parts += await send_parts(started, content, {2})
        unnamed = await complete(http, started, [p for p in parts if p["partNumber"] != 3])
        assert unnamed.json()["missingParts"] == [3]
        wrong = [{**p, "etag": "0" * 32} if p["partNumber"] == 1 else p for p in parts]
        reply = await complete(http, started, wrong)
        assert reply.status_code == 400
        assert reply.json()["wrongParts"] == [1]
        beyond = await complete(http, started, [*parts, {"partNumber": 4, "etag": "e"}])
        assert beyond.json()["wrongParts"] == [4]
        assert (await complete(http, started, parts)).status_code == 200
    assert await stored(server, started["s3Key"]) == content


async def test_the_same_part_sent_twice_counts_once(server: Server) -> None:
    content = os.urandom(11 * MIB)
    async with quest(server) as http:
        started = await start(http, new_time(), len(content))
        await send_parts(started, bytes(11 * MIB), {1})
        parts = await send_parts(started, content)
        status = await http.get("/chunked-upload/status", params=names(started))
        assert sum(p["size"] for p in status.json()["uploadedParts"]) == len(content)
        assert (await complete(http, started, parts)).status_code == 200
    assert await stored(server, started["s3Key"]) == content


async def test_a_part_of_another_size_is_refused_at_once(server: Server) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), 100)
        reply = await put(started["presignedUrls"][0]["url"], b"x" * 99)
        assert reply.status_code == 400
        assert "another size" in reply.json()["error"]


async def test_completes_raced_by_two_clients_are_one_recording(server: Server) -> None:
    content = os.urandom(6 * MIB)
    async with quest(server) as http:
        started = await start(http, new_time(), len(content))
        parts = await send_parts(started, content)
        replies = await asyncio.gather(*(complete(http, started, parts) for _ in range(5)))
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.json()["etag"] for reply in replies}) == 1
    assert await stored(server, started["s3Key"]) == content


async def test_abort_raced_with_complete_is_one_or_the_other(server: Server) -> None:
    content = b"0123456789"
    outcomes = set()
    async with quest(server) as http:
        for _ in range(6):
            started = await start(http, new_time(), len(content))
            parts = await send_parts(started, content)
            done, gone = await asyncio.gather(
                complete(http, started, parts),
                http.post("/chunked-upload/abort", json=names(started)),
            )
            outcomes.add((done.status_code, gone.status_code))
            there = await stored(server, started["s3Key"])
            assert there == (content if done.status_code == 200 else None)
    assert outcomes <= {(200, 409), (404, 200)}


async def test_an_aborted_upload_is_gone_and_can_begin_anew(server: Server) -> None:
    timestamp = new_time()
    async with quest(server) as http:
        started = await start(http, timestamp, 10)
        reply = await http.post("/chunked-upload/abort", json=names(started))
        assert reply.json() == {"ok": True, "message": "Upload aborted successfully"}
        again = await http.post("/chunked-upload/abort", json=names(started))
        assert again.status_code == 200
        assert (await put(started["presignedUrls"][0]["url"], b"0123456789")).status_code == 404
        done = await upload(http, timestamp, b"0123456789")
        assert done["s3Key"] == started["s3Key"]
        late = await http.post("/chunked-upload/abort", json=names(started))
        assert late.status_code in (200, 404)
    assert await stored(server, done["s3Key"]) == b"0123456789"


async def test_presign_part_renews_a_url(server: Server) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), 10)
        reply = await http.post(
            "/chunked-upload/presign-part", json={**names(started), "partNumber": 1}
        )
        assert reply.json()["partNumber"] == 1
        assert (await put(reply.json()["url"], b"0123456789")).status_code == 200
        beyond = await http.post(
            "/chunked-upload/presign-part", json={**names(started), "partNumber": 2}
        )
        assert beyond.status_code == 400


async def test_nothing_unsigned_reaches_the_store(server: Server) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), 10)
        url = started["presignedUrls"][0]["url"]
        parts = urlsplit(url)
        tries = [
            await put(url.split("?", maxsplit=1)[0], b"0123456789"),
            await put(url.replace("partNumber=1", "partNumber=2"), b"0123456789"),
            await put(url[:-1] + ("0" if url[-1] != "0" else "1"), b"0123456789"),
            await put(url.replace("recording.mp4", "session_data.npz"), b"0123456789"),
            await put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"), b"0123456789"),
        ]
        async with httpx.AsyncClient() as plain:
            tries.append(await plain.get(url))
            tries.append(await plain.get(f"{server.url}/turing-robotics-datahub/?list-type=2"))
            tries.append(await plain.get(f"{server.url}{parts.path}"))
            tries.append(await plain.request("DELETE", url))
        assert [reply.status_code for reply in tries] == [403] * 8 + [405]
        assert all(reply.json()["ok"] is False for reply in tries)
        status = await http.get("/chunked-upload/status", params=names(started))
        assert status.json()["uploadedParts"] == []


async def test_browsers_may_upload_and_see_the_etag(server: Server) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), 10)
        url = started["presignedUrls"][0]["url"]
        origin = {"Origin": "https://console.example"}
        async with httpx.AsyncClient() as plain:
            asked = await plain.options(
                url, headers={**origin, "Access-Control-Request-Method": "PUT"}
            )
        assert asked.status_code == 204
        assert "PUT" in asked.headers["access-control-allow-methods"]
        reply = await put(url, b"0123456789", **origin)
        assert reply.status_code == 200
        assert reply.headers["access-control-allow-origin"] == "https://console.example"
        assert "ETag" in reply.headers["access-control-expose-headers"]


async def test_urls_carry_the_host_that_the_client_used(server: Server) -> None:
    body = {"timestamp": new_time(), "fileType": "video", "fileSize": 10}
    async with quest(server) as http:
        named = f"localhost:{server.port}"
        reply = await http.post("/chunked-upload/start", json=body, headers={"Host": named})
        url = reply.json()["presignedUrls"][0]["url"]
        assert url.startswith(f"http://{named}/turing-robotics-datahub/sessions/")
        there = url.replace("localhost", "127.0.0.1")
        assert (await put(there, b"0123456789")).status_code == 403
        assert (await put(there, b"0123456789", Host=named)).status_code == 200
        bad = await http.post("/chunked-upload/start", json=body, headers={"Host": "a b/c?d"})
        assert bad.status_code == 400


async def test_the_session_and_its_tablet_see_the_upload(server: Server) -> None:
    video, data = os.urandom(21 * MIB), b"x" * 1000
    async with headset(server) as device, tablet(server) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [device.identity]},
        )
        session_id = created["sessionId"]
        for event, reply in (
            (catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED),
            (catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED),
        ):
            await operator.ask(event, reply, session_id)
        async with quest(server, device.identity) as http:

            async def shown() -> tuple[str, str, float]:
                session = (await http.get(f"/api/sessions/{session_id}")).json()["session"]
                (row,) = session["deviceStatuses"]
                return session["status"], row["uploadStatus"], row["uploadProgress"]

            assert await shown() == ("completed", "pending", 0)
            timestamp = new_time()
            started = await start(http, timestamp, len(video))
            assert await shown() == ("uploading", "uploading", 0)
            parts = await send_parts(started, video, {1, 2})
            assert await shown() == ("uploading", "uploading", 95)
            parts += await send_parts(started, video, {3})
            assert (await complete(http, started, parts)).status_code == 200
            # The recording is not whole before its data are there.
            assert await shown() == ("uploading", "uploading", 99)
            await upload(http, timestamp, data, "data")
            assert await shown() == ("completed", "completed", 100)
        last = await operator.gets(
            catalogue.ON_UPLOAD_PROGRESS, lambda body: body["uploadStatus"] == "completed"
        )
        assert last == {
            "sessionId": session_id,
            "deviceId": device.identity,
            "uploadStatus": "completed",
            "uploadProgress": 100,
        }
        told = [body["uploadProgress"] for body in operator.seen(catalogue.ON_UPLOAD_PROGRESS)]
        assert told == sorted(told)
        assert len(told) >= 5


async def test_a_failed_upload_is_shown_and_a_new_one_heals_it(server: Server) -> None:
    async with headset(server) as device, tablet(server) as operator:
        await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [device.identity]},
        )
        async with quest(server, device.identity) as http:
            timestamp = new_time()
            started = await start(http, timestamp, 10)
            await http.post("/chunked-upload/abort", json=names(started))
            await operator.gets(
                catalogue.ON_UPLOAD_PROGRESS, lambda body: body["uploadStatus"] == "failed"
            )
            await upload(http, timestamp, b"0123456789")
            await upload(http, timestamp, b"0123456789", "data")
            await operator.gets(
                catalogue.ON_UPLOAD_PROGRESS, lambda body: body["uploadStatus"] == "completed"
            )


async def test_metrics_count_uploads(server: Server) -> None:
    async with quest(server) as http:
        started = await start(http, new_time(), 10)
        before = (await http.get("/metrics")).text
        assert float(_value(before, "turing_uploads_in_progress")) >= 1
        await send_parts(started, b"0123456789")
        assert (await complete(http, started, [{"partNumber": 1, "etag": "x"}])).status_code == 400
        await http.post("/chunked-upload/abort", json=names(started))
        await upload(http, new_time(), b"x" * 1000, "data")
        after = (await http.get("/metrics")).text
    for name in (
        'turing_upload_duration_seconds_count{file_type="data"}',
        'turing_upload_size_bytes_sum{file_type="data"}',
        'turing_upload_bytes_total{file_type="data"}',
        'turing_upload_errors_total{error_type="invalid_parts"}',
        'turing_upload_errors_total{error_type="aborted"}',
    ):
        assert _value(after, name) > _value(before, name), name


def _value(text: str, name: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


async def test_health_says_what_is_connected(server: Server) -> None:
    async with server.http() as http:
        states = (await http.get("/health")).json()["dependencies"]
    assert {name: state["ok"] for name, state in states.items()} == {"valkey": True, "s3": True}


async def test_of_changes_at_once_the_last_one_is_told_last(server: Server) -> None:
    """Video and data that complete together: the tablet and the session end at completed."""
    async with tablet(server) as operator:
        for _ in range(10):
            async with (
                headset(server) as device,
                quest(server, device.identity) as http,
            ):
                created = await operator.ask(
                    catalogue.TABLET_CREATE_SESSION,
                    catalogue.ON_SESSION_CREATED,
                    {"deviceIds": [device.identity]},
                )
                session_id, timestamp = created["sessionId"], new_time()
                await operator.ask(
                    catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session_id
                )
                await asyncio.gather(
                    *(upload(http, timestamp, b"0123456789", kind) for kind in ("video", "data"))
                )
                await operator.settled()
                session = (await http.get(f"/api/sessions/{session_id}")).json()["session"]
                assert session["status"] == "completed"
                told = [
                    body["uploadStatus"]
                    for body in operator.seen(catalogue.ON_UPLOAD_PROGRESS)
                    if body["sessionId"] == session_id
                ]
                assert told[-1] == "completed"


async def test_every_file_of_a_session_is_shown_until_it_is_verified(server: Server) -> None:
    """Begun, begun again, all bytes there, verified; and only then safe to delete."""
    content, timestamp = os.urandom(12 * MIB), new_time()
    async with (
        tablet(server) as operator,
        headset(server) as recorder,
        quest(server, recorder.identity) as http,
        server.http(operator.identity) as viewer,
    ):
        await operator.send(
            catalogue.TABLET_CREATE_SESSION, {"deviceIds": [recorder.identity], "metadata": {}}
        )
        session_id = (await operator.gets(catalogue.ON_SESSION_CREATED))["sessionId"]
        await operator.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session_id)

        async def shown() -> dict[str, Any]:
            reply = await viewer.get("/api/uploads", params={"sessionId": session_id})
            (session,) = reply.json()["sessions"]
            (device,) = session["devices"]
            row: dict[str, Any] = device
            return row

        for recording in (True, True, False, True, False):
            await recorder.send(catalogue.HEADSET_RECORDING_STATE, recording)
        await recorder.settled()
        assert await shown() == {
            "deviceId": recorder.identity, "recordings": 2, "safeToDelete": False, "files": [],
        }  # fmt: skip

        first = await start(http, timestamp, len(content), sessionId=session_id)
        parts = await send_parts(first, content, {1})
        await start(http, timestamp, len(content), sessionId=session_id)
        (file,) = (await shown())["files"]
        assert (file["recording"], file["fileType"]) == (timestamp, "video")
        assert (file["size"], file["retries"]) == (len(content), 1)
        assert 0 < file["stored"] < len(content)
        assert not file["uploaded"]
        parts += await send_parts(first, content, {2})
        (file,) = (await shown())["files"]
        assert (file["stored"], file["uploaded"], file["verified"]) == (len(content), True, False)
        await complete(http, first, parts)
        started = await start(http, timestamp, 5, "data", sessionId=session_id)
        await complete(http, started, await send_parts(started, b"12345"))
        assert all(file["verified"] for file in (await shown())["files"])
        # The headset began two recordings, and the session is not over.
        assert not (await shown())["safeToDelete"]
        await operator.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session_id)
        assert not (await shown())["safeToDelete"]
        later = new_time()
        for kind in ("video", "data"):
            started = await start(http, later, 5, kind, sessionId=session_id)
            await complete(http, started, await send_parts(started, b"12345"))
        device = await shown()
        assert device["safeToDelete"]
        assert len(device["files"]) == 4


async def test_sessions_with_uploads_come_in_pages(server: Server) -> None:
    async with (
        tablet(server) as operator,
        headset(server) as recorder,
        server.http(operator.identity) as viewer,
        quest(server) as stranger,
    ):
        ids = []
        for _ in range(3):
            await operator.send(
                catalogue.TABLET_CREATE_SESSION, {"deviceIds": [recorder.identity], "metadata": {}}
            )
            made = await operator.gets(
                catalogue.ON_SESSION_CREATED, lambda made: made["sessionId"] not in ids
            )
            ids.append(made["sessionId"])
            for event, answer in (
                (catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED),
                (catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED),
            ):
                await operator.ask(event, answer, made["sessionId"])
        first = (await viewer.get("/api/uploads", params={"limit": 2})).json()
        assert [row["sessionId"] for row in first["sessions"]] == [ids[2], ids[1]]
        rest = await viewer.get("/api/uploads", params={"limit": 1, "cursor": first["next"]})
        assert [row["sessionId"] for row in rest.json()["sessions"]] == [ids[0]]
        assert (await viewer.get("/api/uploads", params={"cursor": "none"})).status_code == 400
        assert (await viewer.get("/api/uploads", params={"sessionId": "none"})).status_code == 404
        assert (await stranger.get("/api/uploads")).status_code == 403


def moment_of(folder: str) -> datetime:
    return datetime.strptime(folder, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)


async def test_a_second_whose_next_five_minutes_are_full_gets_a_later_one(server: Server) -> None:
    timestamp = new_time()
    begin = moment_of(timestamp)
    async with quest(server) as busy, quest(server) as http, quest(server) as other:
        gate = asyncio.Semaphore(16)

        async def take(second: int) -> dict[str, Any]:
            async with gate:
                asked = begin + timedelta(seconds=second)
                return await start(busy, f"{asked:%Y%m%d_%H%M%S}", 1)

        await asyncio.gather(*(take(second) for second in range(300)))
        mine = await start(http, timestamp, 1)
        theirs = await start(other, timestamp, 1)
        folders = [one["s3Key"].split("/")[1] for one in (mine, theirs)]
        moments = [moment_of(one) for one in folders]
        assert timedelta(seconds=300) <= moments[0] - begin < timedelta(seconds=600)
        assert moments[1] - moments[0] == timedelta(seconds=1)
        # Its data goes into the same folder.
        data = await start(http, timestamp, 1, "data")
        assert data["s3Key"].split("/")[1] == folders[0]
