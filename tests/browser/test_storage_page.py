"""What a manager sees of the bucket."""

from pathlib import Path

import lab
import pytest
import recorded
from playwright.async_api import expect
from support import Server
from uploading import bucket

pytestmark = pytest.mark.asyncio


async def _put(data_dir: Path, key: str, body: bytes) -> None:
    async with bucket(data_dir) as store:
        upload_id = await store.begin(key, "application/octet-stream", {})
        part = await store.put_part(key, upload_id, 1, body)
        await store.complete(key, upload_id, [part])


async def test_the_bucket_is_shown_and_read_again(lab_server: Server, tmp_path: Path) -> None:
    await recorded.upload(lab_server, "STORE_0001", "20260304_100000", tmp_path)
    async with lab.chromium() as browser, lab.visitor(lab_server, browser) as manager:
        await manager.sign_in_as_manager()
        page = manager.page
        await page.get_by_role("link", name="Storage").click()
        types = page.get_by_role("region", name="Files by type")
        await expect(types.get_by_role("listitem").filter(has_text=".npz")).to_be_visible()
        await expect(page.get_by_role("region", name="Costs per month")).to_contain_text(
            "Glacier Deep Archive"
        )
        incomplete = page.get_by_role("region", name="Incomplete sessions")
        await expect(incomplete.get_by_text("20260304_100001")).to_have_count(0)

        # What others put there is found by reading again.
        await _put(lab_server.data_dir, "sessions/20260304_100001/recording.mp4", b"video")
        await _put(lab_server.data_dir, "client_output/week 9.zip", b"zip")
        await page.get_by_role("button", name="Read the bucket again").click()
        row = incomplete.get_by_role("listitem").filter(has_text="20260304_100001")
        await expect(row).to_contain_text("data missing")
        await expect(page.get_by_role("region", name="Processed outputs")).to_contain_text("week 9")
        async with lab_server.http(admin=True) as http:
            found = (await http.get("/api/s3-stats/summary")).json()
        numbers = page.locator("dl").first
        await expect(numbers).to_contain_text(f"{found['overview']['totalFiles']} files")
        await expect(numbers).to_contain_text(
            f"{found['sessionCount'] - found['completeCount']} incomplete"
        )
        bars = page.get_by_role("img", name="Per day").locator("rect")
        await expect(bars).to_have_count(30)
        assert float(await bars.last.get_attribute("height") or 0) > 0


async def test_operators_have_no_pages_that_need_the_admin_key(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        await operator.pair()
        links = operator.page.get_by_role("navigation", name="Pages").get_by_role("link")
        await expect(links).to_have_text(["Capture", "Fleet", "Uploads", "Settings"])
        await operator.open("/review")
        await expect(operator.page.get_by_role("heading", name="Capture")).to_be_visible()
