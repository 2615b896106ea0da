"""Device page, settings and audit log; and no page has a serious accessibility problem."""

import json
from pathlib import Path
from typing import Any

import lab
import pytest
import recorded
from playwright.async_api import Page, expect
from support import Server

pytestmark = pytest.mark.asyncio

RECORDING = "20260303_100000"
AXE = Path(__file__).parents[2] / "console" / "node_modules" / "axe-core" / "axe.min.js"


async def _serious(page: Page) -> list[str]:
    """What axe calls serious or critical, with where."""
    # By the debugger's way in: the page's own policy lets no script be added.
    await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})"
    )
    return [
        f"{violation['id']}: {violation['help']}: {violation['nodes'][0]['html'][:200]}: "
        f"{violation['nodes'][0]['failureSummary'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


async def test_a_headset_is_renamed_and_shown(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="PAGEA"),
        lab.visitor(lab_server, browser) as manager,
    ):
        await manager.sign_in_as_manager()
        page = manager.page
        await page.get_by_role("link", name="Quest 0001").click()
        await expect(page.get_by_role("heading", name="Quest 0001")).to_be_visible()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await expect(page.get_by_role("img", name="Battery and tracking")).to_be_visible()

        await page.get_by_role("button", name="Rename").click()
        await page.get_by_role("textbox", name="Name").fill("Bench A, left")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Bench A, left")).to_be_visible()

        await page.get_by_role("link", name="Settings").click()
        line = page.get_by_role("row", name="renamed")
        await expect(line).to_contain_text("admin")
        await expect(line).to_contain_text("Bench A, left")
        await page.get_by_label("Search the audit log").fill("nothing like this")
        await expect(page.get_by_text("Nothing found.")).to_be_visible()
        await page.get_by_label("Search the audit log").fill("rename")
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Export as CSV").click()
        text = (await (await download.value).path()).read_text()
        assert "rename,PAGEA_0001" in text


@pytest.mark.timeout(300)  # eighteen pages, each read whole
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [lab.TABLET, lab.DESKTOP], ids=["tablet", "desktop"])
async def test_no_page_is_hard_to_use(
    lab_server: Server, scheme: str, size: dict[str, Any], tmp_path: Path
) -> None:
    problems: dict[str, list[str]] = {}
    await recorded.upload(lab_server, "PAGEB_0001", RECORDING, tmp_path)
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 3, prefix="PAGEB") as fleet,
        lab.visitor(lab_server, browser, **size, color_scheme=scheme) as someone,
    ):
        page = someone.page
        fleet[1].battery, fleet[2].battery = 0.05, 0.2
        await someone.open("/")
        await page.get_by_role("heading", name="Pair this tablet").wait_for()
        problems["sign-in"] = await _serious(page)
        await someone.sign_in_as_manager()
        await expect(page.get_by_role("listitem").first).to_contain_text("Low battery")
        await expect(page.locator("canvas[data-frames]")).to_have_count(3)
        await page.get_by_label("Select Quest 0001").check()
        problems["fleet"] = await _serious(page)
        await page.get_by_text("Table", exact=True).click()
        problems["table"] = await _serious(page)
        await someone.open("/devices/PAGEB_0002")
        await page.get_by_role("img", name="Battery and tracking").wait_for()
        problems["device"] = await _serious(page)
        await someone.open("/storage")
        await page.get_by_role("heading", name="Processed outputs").wait_for()
        problems["storage"] = await _serious(page)
        await someone.open("/review")
        row = page.locator(f"[data-session='{RECORDING}']")
        await row.wait_for()
        problems["review"] = await _serious(page)
        await row.click()
        await page.locator("rect[data-start]").first.wait_for(state="attached")
        problems["recording of review"] = await _serious(page)
        await page.get_by_role("button", name="Reject").click()
        await page.get_by_role("textbox", name="Your name").wait_for()
        problems["who"] = await _serious(page)
        await lab.introduce(page, "Ada")
        await page.get_by_role("textbox", name="Reason").wait_for()
        problems["rejecting"] = await _serious(page)
        await page.keyboard.press("Escape")
        await someone.open("/settings")
        await page.get_by_role("heading", name="Audit log").wait_for()
        problems["settings"] = await _serious(page)
        await page.get_by_role("button", name="Pair a tablet").click()
        await page.get_by_label("Name").fill("Lab 2")
        await page.get_by_role("button", name="Show a code").click()
        await page.get_by_role("img", name="Code to scan").wait_for()
        problems["pairing"] = await _serious(page)

        await someone.open("/capture")
        await page.reload()
        for name in ("Quest 0001", "Quest 0002", "Quest 0003"):
            await page.get_by_role("checkbox", name=name).check()
        problems["choose"] = await _serious(page)
        await page.get_by_role("button", name="Next: details").click()
        await page.get_by_role("combobox", name="Task").fill("Pour")
        await page.get_by_role("button", name="Next: check").click()
        problems["details"] = await _serious(page)
        await page.get_by_label("Participant").fill("P-1")
        await page.get_by_role("button", name="Next: check").click()
        start = page.get_by_role("button", name="Go on with 2 of 3")
        await start.wait_for()
        problems["check"] = await _serious(page)
        await start.click()
        await expect(page.locator("li[data-light=good]")).to_have_count(2)
        problems["recording"] = await _serious(page)
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("status")).to_have_text("Paused")
        problems["paused"] = await _serious(page)
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_role("heading", name="complete").wait_for()
        await page.locator("li[data-stage]").first.wait_for()
        problems["result"] = await _serious(page)
        await page.get_by_role("link", name="Uploads").click()
        await page.locator("li[data-stage]").first.wait_for()
        problems["uploads"] = await _serious(page)
    assert {name: found for name, found in problems.items() if found} == {}, json.dumps(
        problems, indent=1
    )
    assert len(problems) == 18


async def test_targets_are_large_enough_for_fingers(lab_server: Server) -> None:
    """Whatever can be tapped while capturing is at least 48 px high, label included."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="PAGEC"),
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        await operator.pair()
        page = operator.page
        small: list[str] = []

        async def measure() -> None:
            small.extend(
                await page.evaluate(
                    "[...document.querySelectorAll('button, a, input')].map(e => e.closest('label')"
                    " ?? e).filter(e => e.offsetParent && e.getBoundingClientRect().height < 47.5)"
                    ".map(e => e.outerHTML.slice(0, 120))"
                )
            )

        await page.get_by_role("checkbox", name="Quest 0001").check()
        await measure()
        await page.get_by_role("button", name="Next: details").click()
        await page.get_by_label("Participant").fill("P-1")
        await page.get_by_role("combobox", name="Task").fill("Pour")
        await page.get_by_role("button", name="Keep as a preset").click()
        await measure()
        await page.get_by_role("button", name="Next: check").click()
        await page.get_by_role("button", name="Start 1 headset").wait_for()
        await measure()
        await page.get_by_role("button", name="Start 1 headset").click()
        await page.get_by_role("button", name="Pause").wait_for()
        await measure()
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_role("heading", name="complete").wait_for()
        await measure()
        assert small == []
