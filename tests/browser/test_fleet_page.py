"""The fleet page, as a manager sees it in a real browser."""

import asyncio
import re

import lab
import pytest
from playwright.async_api import expect
from support import Server

pytestmark = pytest.mark.asyncio


async def test_manager_finds_the_low_battery_headset(lab_server: Server) -> None:
    """Worst first, without looking for it; and by the filter, in the grid and in the table."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 4, prefix="FLEETA") as fleet,
        lab.visitor(lab_server, browser) as manager,
    ):
        fleet[2].battery = 0.08
        await manager.sign_in_as_manager()
        page = manager.page
        first = page.get_by_role("listitem").first
        await expect(first).to_contain_text("Quest 0003")
        await expect(first).to_contain_text("Low battery")
        await expect(first).to_contain_text("8 %")

        await page.get_by_role("button", name="Low battery").click()
        await expect(page.get_by_role("listitem")).to_have_count(1)
        await page.get_by_text("Table", exact=True).click()
        await expect(page.get_by_role("row", name="Quest 0003")).to_contain_text("Low battery")
        await expect(page.get_by_role("row")).to_have_count(2)

        await page.get_by_role("button", name="Low battery").click()
        rows = page.get_by_role("row")
        await page.get_by_role("button", name="Battery", exact=True).click()
        await expect(rows.nth(1)).to_contain_text("Quest 0003")
        await page.get_by_role("button", name="Battery", exact=True).click()
        await expect(rows.last).to_contain_text("Quest 0003")
        await expect(page.get_by_role("columnheader", name="Battery")).to_have_attribute(
            "aria-sort", "descending"
        )


async def test_a_headset_that_leaves_is_shown_as_offline_and_not_live(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="FLEETB") as fleet,
        lab.visitor(lab_server, browser) as manager,
    ):
        await manager.sign_in_as_manager()
        tile = manager.page.locator("[data-device=FLEETB_0001]")
        await expect(tile).to_contain_text("Ready")
        await fleet[0].stop()
        await expect(tile).to_contain_text("Offline")
        await expect(tile).to_contain_text("Seen")
        await expect(tile.locator("[data-stale=true]")).to_have_count(1)


_TAB = """hidden => {
    Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_a_page_behind_others_costs_no_pictures(lab_server: Server) -> None:
    """They come again as soon as it is in front."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="FLEETD", fps=10),
        lab.visitor(lab_server, browser) as manager,
    ):
        received: list[str] = []
        manager.page.on(
            "websocket",
            lambda wire: wire.on(
                "framereceived",
                lambda data: received.append("picture") if isinstance(data, bytes) else None,
            ),
        )
        await manager.sign_in_as_manager()
        canvas = manager.page.locator("canvas[data-frames]")
        await canvas.wait_for()
        await manager.page.evaluate(_TAB, True)
        await asyncio.sleep(2)  # what was on its way has come
        received.clear()
        await asyncio.sleep(4)
        assert received == []
        await manager.page.evaluate(_TAB, False)
        await lab.until(lambda: _some(received))


async def _some(received: list[str]) -> bool:
    return bool(received)


async def test_a_tablet_is_paired_by_code_and_shut_out_again(lab_server: Server) -> None:
    """An admin shows a code, the tablet uses it, the admin sees it and takes its access back."""
    async with (
        lab.chromium() as browser,
        lab.visitor(lab_server, browser) as manager,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        await manager.sign_in_as_manager()
        page = manager.page
        await page.get_by_role("link", name="Settings").click()
        await page.get_by_role("button", name="Pair a tablet").click()
        await page.get_by_label("Name").fill("Lab 7")
        await page.get_by_role("button", name="Show a code").click()
        await expect(page.get_by_role("img", name="Code to scan")).to_be_visible()
        code = await page.locator("[data-code]").inner_text()
        assert re.fullmatch(r"[2-9A-Z]{4}-[2-9A-Z]{4}", code)

        await operator.sign_in_as_tablet(code.lower())
        await expect(page.get_by_text("Lab 7 is paired.")).to_be_visible()
        await page.get_by_role("button", name="Done").click()
        await expect(page.get_by_text("Connected", exact=False).first).to_be_visible()

        await page.get_by_role("button", name="Take access back from Lab 7 …").click()
        await page.get_by_role("button", name="Take access back from Lab 7", exact=True).click()
        await expect(operator.page.get_by_text("no longer paired")).to_be_visible()


async def test_the_page_says_when_the_server_is_away_and_comes_back(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="FLEETC"),
        lab.visitor(lab_server, browser) as manager,
    ):
        await manager.sign_in_as_manager()
        tile = manager.page.locator("[data-device=FLEETC_0001]")
        await expect(tile).to_contain_text("Ready")
        lab_server.kill()
        await expect(manager.page.get_by_role("alert")).to_contain_text("No connection")
        await asyncio.to_thread(lab_server.start)
        await expect(manager.page.get_by_role("alert")).to_have_count(0)
        await expect(tile).to_contain_text("Ready")
