"""A finished upload is scored without anyone asking; what was scored can be seen and judged."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter
from recordings import (
    Unpicklable,
    arrays,
    files,
    metadata,
    npz,
    pickle_of,
    pickled,
    rawzip,
    zeros_bomb,
    zipped,
)
from support import TOKENS, Client, Server, dashboard, headset, new_id, tablet
from uploading import new_time

from quest_backend.api.qa_models import QAFiles, QASessionBody, QATimeline
from quest_backend.client import FileType, UploadClient
from quest_backend.jobs.local_recordings import find_sessions, score_local
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.simulator import recordings
from quest_backend.simulator.recordings import Take

pytestmark = pytest.mark.asyncio

# "Within seconds", also on a busy machine.
SECONDS = 10


async def made(
    folder: Path, device_id: str, seconds: float = 4
) -> tuple[str, dict[FileType, Path]]:
    """A recording as a headset leaves it."""
    stamp = new_time()
    began = datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    take = Take(device_id, began, seconds, seed=3)
    return stamp, await asyncio.to_thread(recordings.make, take, folder / stamp)


async def upload(server: Server, device_id: str, stamp: str, paths: dict[FileType, Path]) -> None:
    token = TOKENS.issue(device_id, DeviceType.HEADSET)
    async with UploadClient(server.url, token=token) as client:
        for file_type, path in paths.items():
            await client.upload(path, timestamp=stamp, file_type=file_type)


async def answer(server: Server, path: str) -> httpx.Response:
    async with server.http(admin=True) as http:
        return await http.get(f"/api/qa-metrics/{path}")


@asynccontextmanager
async def capturing(server: Server) -> AsyncIterator[tuple[Client, Client, str]]:
    """A tablet that has just recorded a session with a headset."""
    async with headset(server) as quest, tablet(server) as operator:
        created = await operator.ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": [quest.identity], "metadata": {"study": "strict"}},
        )
        session_id = created["sessionId"]
        for event, reply in (
            (catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED),
            (catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED),
        ):
            await operator.ask(event, reply, session_id)
        yield quest, operator, session_id


async def test_an_upload_is_scored_and_told_within_seconds(server: Server, tmp_path: Path) -> None:
    async with capturing(server) as (quest, operator, capture), dashboard(server) as viewer:
        await viewer.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        stamp, files = await made(tmp_path, quest.identity)
        await upload(server, quest.identity, stamp, files)
        uploaded_at = time.monotonic()

        def complete(told: Any) -> bool:
            return bool(told["sessionId"] == stamp)

        told = await operator.gets(catalogue.ON_QA_COMPLETED, complete, SECONDS)
        assert await viewer.gets(catalogue.ON_QA_COMPLETED, complete, SECONDS) == told
        assert time.monotonic() - uploaded_at < SECONDS

        async with server.http(admin=True) as admin:
            metrics = (await admin.get("/metrics")).text
        assert 'turing_qa_delay_seconds_bucket{le="10.0"} 0.0' not in metrics
        assert "turing_qa_delay_seconds_count 0.0" not in metrics

        reply = await answer(server, stamp)
        assert reply.status_code == 200, reply.text
        body = reply.json()
        QASessionBody.model_validate(body)
        # The same as of the files that never left the disk.
        [local] = find_sessions(tmp_path / stamp)
        expected: Any = dict(score_local(local, 100).session)
        assert {name: body[name] for name in expected} == _as_json(expected)
        assert body["status"] == "complete"
        assert body["extended"]["video"]["framesAgree"] is True
        # By the profile that the study asks for.
        assert body["profile"] == "strict"
        assert told == {
            "sessionId": stamp, "overallQualityScore": body["overallQualityScore"],
            "verdict": body["verdict"], "captureSessionId": capture, "deviceId": quest.identity,
        }  # fmt: skip


def _as_json(session: dict[str, Any]) -> Any:
    intervals = [list(each) for each in session["extended"]["flagIntervals"]]
    return {**session, "extended": {**session["extended"], "flagIntervals": intervals}}


async def test_a_scored_upload_has_a_chart_and_files_to_look_at(
    server: Server, tmp_path: Path
) -> None:
    async with headset(server) as quest, dashboard(server) as viewer:
        await viewer.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)
        stamp, files = await made(tmp_path, quest.identity, seconds=30)
        await upload(server, quest.identity, stamp, files)
        await viewer.gets(
            catalogue.ON_QA_COMPLETED, lambda told: told["sessionId"] == stamp, SECONDS
        )
    chart = (await answer(server, f"{stamp}/timeline")).json()
    TypeAdapter(QATimeline).validate_python(chart)
    assert (chart["frames"], chart["points"], chart["fps"]) == (900, 900, 30)
    assert all(len(lane["mean"]) == 900 for lane in (chart["left"], chart["right"]))
    extended = (await answer(server, stamp)).json()["extended"]
    assert chart["flagIntervals"] == extended["flagIntervals"]
    lost = {side: len(runs) for side, runs in chart["dropouts"].items()}
    assert lost == {side: hand["dropouts"] for side, hand in extended["hands"].items()}
    assert sum(lost.values()) > 0

    found = (await answer(server, f"{stamp}/files")).json()
    QAFiles.model_validate(found)
    for file_type, path in files.items():
        shown = found[file_type.value]
        assert shown["bytes"] == path.stat().st_size
        # As a browser's player asks: without any credentials, for a part.
        async with httpx.AsyncClient() as browser:
            part = await browser.get(shown["url"], headers={"Range": "bytes=100-199"})
            whole = await browser.get(shown["url"])
        assert part.status_code == 206
        assert part.content == path.read_bytes()[100:200]
        assert whole.content == path.read_bytes()


async def test_what_was_never_uploaded_has_neither(server: Server) -> None:
    for path in ("20200101_000000", "20200101_000000/timeline", "20200101_000000/files"):
        assert (await answer(server, path)).status_code == 404


def _share(flags: list[bool]) -> float:
    return round(100 * sum(flags) / len(flags), 2)


async def test_hostile_recordings_fail_alone_and_the_report_answers(server: Server) -> None:
    """Beside one whose numbers are reckoned here, one value after the other."""
    frames = 400
    left = [float("nan"), float("inf"), -1.0, 7.0] + [number % 10 / 10 for number in range(396)]
    flags = {
        "both_hands_not_in_frame": [number % 8 == 0 for number in range(frames)],
        "tracking_errors": [number % 16 == 0 for number in range(frames)],
        "hand_speed_exceeded": [number % 5 == 0 for number in range(frames)],
    }
    stamp = new_time()
    said = metadata(frames, total_frames=frames + 1, capture_date=stamp.replace("_", "T") + "Z")
    bodies = {
        "sound": npz(arrays(frames, left_confidence=np.array(left), metadata=np.array([said]), **{
            name: np.array(lane) for name, lane in flags.items()})),
        "cut off": npz()[:-30],
        "calls a function": zipped(files() | {
            "metadata.npy": pickled(pickle_of(np.array([Unpicklable(print, "x")], object)))}),
        "a bomb": rawzip(b"left_tracked.npy", zeros_bomb(64 << 20), 600),
        "65,536 members": zipped(files() | {f"m{number}": b"" for number in range(65_536)}),
        "a damaged directory": npz().replace(npz()[-200:-190], b"\xff" * 10),
    }  # fmt: skip
    stamps = {name: new_time() for name in bodies} | {"sound": stamp}
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        for name, body in bodies.items():
            form = [("video", ("recording.mp4", b"no video", "video/mp4")),
                    ("data", ("session_data.npz", body, "application/octet-stream"))]  # fmt: skip
            reply = await http.post("/upload-session", data={"timestamp": stamps[name]}, files=form)
            assert reply.status_code == 200, reply.text
    for stamp in stamps.values():
        async with asyncio.timeout(3 * SECONDS):
            while (await answer(server, stamp)).status_code != 200:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.05)
    async with server.http(admin=True) as admin:
        whole = (await admin.get("/api/qa-metrics")).json()
    found = {row["sessionId"]: row for row in whole["sessions"]}
    assert whole["overview"]["totalSessions"] == len(found)
    for name in bodies.keys() - {"sound"}:
        stages = found[stamps[name]]["stages"]
        assert stages["stage10_validationTests"]["npzIntegrityCheck"] is False, name
        scores = [stage["score"] for stage in stages.values()]
        assert [*scores, found[stamps[name]]["overallQualityScore"]] == [0, 0, 0, 0], name

    sound = found[stamps["sound"]]
    absent, errors, fast = (_share(lane) for lane in flags.values())
    confidence = [min(1.0, max(0.0, value)) if abs(value) < 1e9 else 0.0 for value in left]
    assert sound["stages"]["stage2_captureQuality"] == {
        "totalFrames": frames,
        "bothHandsNotInFramePercent": absent,
        "trackingErrorsPercent": errors,
        "handSpeedExceededPercent": fast,
        "validFramesPercent": round(100 - absent - errors, 2),
        "score": round(100 - absent - errors - fast, 2),
    }
    tracking = sound["stages"]["stage12_trackingConfidence"]
    both = (sum(confidence) / frames + 1) / 2
    assert tracking["leftHandAvgConfidence"] == round(sum(confidence) / frames, 4)
    assert tracking["rightHandAvgConfidence"] == 1
    assert tracking["overallAvgConfidence"] == round(both, 4)
    low = 100 * sum(value < 0.8 for value in confidence) / (2 * frames)
    assert tracking["lowConfidenceFramesPercent"] == pytest.approx(low, abs=0.0051)
    assert tracking["score"] == pytest.approx(100 * both, abs=0.0051)
    # All but the number of frames.
    assert sound["stages"]["stage10_validationTests"]["score"] == 66.67
    assert sound["overallQualityScore"] == pytest.approx(
        0.4 * (100 - absent - errors - fast) + 0.3 * 66.67 + 0.3 * 100 * both, abs=0.01
    )
