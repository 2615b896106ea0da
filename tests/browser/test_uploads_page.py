"""What an operator sees of the way from the headset to the bucket."""

import os
from typing import Any

import httpx
import lab
import pytest
from playwright.async_api import Page, expect
from support import Server

from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


async def _record(operator: lab.Visitor, count: int) -> Page:
    page = operator.page
    await operator.pair()
    await lab.choose(page, *(f"Quest {number:04d}" for number in range(1, count + 1)))
    await lab.describe(page)
    await page.get_by_role("button", name="Start ").click()
    await expect(page.locator("li[data-light=good]")).to_have_count(count)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("heading", name="Take 1 complete")).to_be_visible()
    return page


async def test_what_was_recorded_arrives_and_may_be_deleted(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="UPLA", uploads=True) as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        page = await _record(operator, 2)
        await expect(page.get_by_text("2 of 2 headsets verified and safe to delete")).to_be_visible(
            timeout=30_000
        )
        for headset in fleet:
            row = page.locator(f"li[data-device={headset.device_id}]")
            await expect(row.get_by_role("progressbar")).to_have_count(2)
            await expect(row.get_by_text("Safe to delete from headset")).to_be_visible()
        await page.get_by_role("link", name="Uploads").click()
        session = page.get_by_role("region", name="P-017, Fold a towel, take 1")
        await expect(session.get_by_role("status")).to_contain_text("2 of 2 headsets")
        await session.get_by_text("Headsets and files").click()
        await expect(session.get_by_text("Safe to delete from headset")).to_have_count(2)


class _Uploader:
    """A headset's app, one request at a time."""

    def __init__(self, http: httpx.AsyncClient, timestamp: str) -> None:
        self._http = http
        self._timestamp = timestamp
        self._started: dict[str, Any] = {}

    async def start(self, kind: str, size: int) -> None:
        body = {"timestamp": self._timestamp, "fileType": kind, "fileSize": size}
        answer = await self._http.post("/chunked-upload/start", json=body)
        self._started = answer.json()

    async def part(self, number: int, body: bytes) -> dict[str, Any]:
        url = self._started["presignedUrls"][number - 1]["url"]
        async with httpx.AsyncClient() as plain:
            answer = await plain.put(url, content=body)
        return {"partNumber": number, "etag": answer.headers["etag"]}

    async def complete(self, parts: list[dict[str, Any]]) -> None:
        names = {key: self._started[key] for key in ("uploadId", "s3Key")}
        answer = await self._http.post("/chunked-upload/complete", json={**names, "parts": parts})
        assert answer.status_code == 200, answer.text


async def test_each_step_of_an_upload_is_told_apart(lab_server: Server) -> None:
    """Waiting, half, tried again, all bytes there, verified; safe only when both files are."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="UPLB"),
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
        lab_server.http("UPLB_0001", DeviceType.HEADSET) as http,
    ):
        page = await _record(operator, 1)
        row = page.locator("li[data-device=UPLB_0001]")
        await expect(row).to_contain_text("Nothing has come yet")
        await expect(row).to_contain_text("Keep it on the headset")

        app, content = _Uploader(http, "20260206_143052"), os.urandom(12 * MIB)
        await app.start("video", len(content))
        first = await app.part(1, content[: 10 * MIB])
        await expect(row).to_contain_text("Uploading 83 %")
        await expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "83")
        await app.start("video", len(content))
        await expect(row).to_contain_text("1 retry")
        second = await app.part(2, content[10 * MIB :])
        await expect(row).to_contain_text("Uploaded, not verified yet")
        await app.complete([first, second])
        await expect(row.locator("[data-stage=verified]").first).to_contain_text("Verified")
        await expect(row).to_contain_text("Keep it on the headset")
        await app.start("data", 4)
        await app.complete([await app.part(1, b"data")])
        await expect(row).to_contain_text("Safe to delete from headset")
        await expect(row).not_to_contain_text("Keep it")
