"""What a reviewer does with recordings: find, look, walk through the flags, decide."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import lab
import pytest
import recorded
from playwright.async_api import Page, expect
from support import Server

from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

FIRST, SECOND = "20260301_100000", "20260301_100100"


@asynccontextmanager
async def _reviewer(lab_server: Server, tmp_path: Path) -> AsyncIterator[lab.Visitor]:
    """A manager's browser, and two recordings that are not decided on."""
    for session_id in (FIRST, SECOND):
        await recorded.upload(lab_server, "REVIEW_0001", session_id, tmp_path)
        async with lab_server.http(admin=True) as http:
            open_again = {"decision": None, "reason": ""}
            await http.put(f"/api/qa-metrics/{session_id}/review", json=open_again)
    async with lab.chromium() as browser, lab.visitor(lab_server, browser) as manager:
        await manager.sign_in_as_manager()
        yield manager


async def _frame(page: Page) -> int:
    return int(await page.locator("[data-frame]").get_attribute("data-frame") or -1)


async def _at(page: Page, frame: int) -> None:
    await expect(page.locator("[data-frame]")).to_have_attribute("data-frame", str(frame))


async def _video_s(page: Page) -> float:
    return float(await page.evaluate("document.querySelector('video').currentTime"))


async def _has_picture(page: Page) -> bool:
    return bool(await page.evaluate("document.querySelector('video')?.readyState >= 2"))


async def _open(page: Page, session_id: str) -> None:
    await page.get_by_role("link", name="Review").first.click()
    await page.locator(f"[data-session='{session_id}']").click()
    await expect(page.locator("rect[data-start]").first).to_be_attached()
    await lab.until(lambda: _has_picture(page))


async def test_flags_lead_to_their_place_in_the_video(lab_server: Server, tmp_path: Path) -> None:
    """By clicking a flag in its lane or in the list, and by clicking anywhere on the lanes."""
    async with _reviewer(lab_server, tmp_path) as reviewer:
        page = reviewer.page
        await _open(page, FIRST)
        assert await page.locator("[data-lane=handSpeedExceeded] rect").count() == 1
        await page.locator("[data-lane=handSpeedExceeded] rect").click()
        await _at(page, recorded.SPEED[0])
        await expect(page.get_by_text("Too fast", exact=True).last).to_be_visible()
        fps = 30
        assert abs(await _video_s(page) - recorded.SPEED[0] / fps) < 0.05
        await page.get_by_role("button", name="Tracking error").click()
        await _at(page, recorded.TRACKING[0])
        area = page.locator("[data-from]")
        box = await area.bounding_box()
        assert box is not None
        await page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] - 20)
        assert abs(await _frame(page) - 60) <= 1
        # The gap of the left hand is drawn, and told.
        lanes = page.get_by_role("region", name="Over time")
        await expect(lanes.get_by_role("img", name="Left hand")).to_have_attribute(
            "aria-label", "Left hand: confidence down to 0.20, lost once"
        )


async def test_lanes_are_zoomed_around_the_cursor(lab_server: Server, tmp_path: Path) -> None:
    async with _reviewer(lab_server, tmp_path) as reviewer:
        page = reviewer.page
        await _open(page, FIRST)
        area = page.locator("[data-from]")
        await expect(area).to_have_attribute("data-to", "120")
        await page.get_by_role("button", name="Tracking error").click()
        await page.get_by_role("button", name="Zoom in").click()
        await expect(area).to_have_attribute("data-from", "20")
        await expect(area).to_have_attribute("data-to", "80")
        await area.hover()
        await page.keyboard.down("Control")
        await page.mouse.wheel(0, 400)
        await page.keyboard.up("Control")
        await expect(area).to_have_attribute("data-to", "120")
        await expect(area).to_have_attribute("data-from", "0")
        await page.keyboard.press("+")
        await page.keyboard.press("0")
        await expect(area).to_have_attribute("data-from", "0")


async def test_a_review_by_keyboard_alone(lab_server: Server, tmp_path: Path) -> None:
    """From the list to the decision without a pointer."""
    async with _reviewer(lab_server, tmp_path) as reviewer:
        page = reviewer.page
        await page.get_by_role("link", name="Review").focus()
        await page.keyboard.press("Enter")
        row = page.locator(f"[data-session='{SECOND}']")
        await row.wait_for()
        await expect(row).to_contain_text("Not reviewed")
        while not await row.evaluate("row => row === document.activeElement"):
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await lab.until(lambda: _has_picture(page))
        await expect(page.locator("rect[data-start]").first).to_be_attached()

        for frame in (recorded.SPEED[0], recorded.TRACKING[0]):
            await page.keyboard.press("n")
            await _at(page, frame)
        await page.keyboard.press("p")
        await _at(page, recorded.SPEED[0])
        await page.keyboard.press("ArrowRight")
        await _at(page, recorded.SPEED[0] + 1)
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Shift+ArrowRight")
        await _at(page, recorded.SPEED[0] + 30)
        await page.keyboard.press("<")
        await expect(page.get_by_text(re.compile(r"0\.5"))).to_be_visible()
        assert await page.evaluate("document.querySelector('video').playbackRate") == 0.5
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()
        await lab.until(lambda: _beyond(page, recorded.SPEED[0] + 36))
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()

        await page.keyboard.press("a")
        await expect(page.get_by_role("textbox", name="Your name")).to_be_focused()
        await page.keyboard.type("Zoë Łuczak")
        await page.keyboard.press("Enter")
        status = page.get_by_role("status")
        await expect(status).to_contain_text("Accepted")
        await page.keyboard.press("r")
        await expect(page.get_by_role("textbox", name="Reason")).to_be_focused()
        await page.keyboard.type("The participant asks a question")
        await page.keyboard.press("Enter")
        await expect(status).to_contain_text("Rejected")
        await expect(status).to_contain_text("by Zoë Łuczak")
        await expect(status).to_contain_text("The participant asks a question")
        await page.keyboard.press("]")
        await expect(page.get_by_text(FIRST)).to_be_visible()
        await page.keyboard.press("[")
        await expect(page.get_by_text(SECOND)).to_be_visible()


async def _beyond(page: Page, frame: int) -> bool:
    return await _frame(page) > frame


async def test_decisions_are_in_the_lists_and_in_the_audit_log(
    lab_server: Server, tmp_path: Path
) -> None:
    async with _reviewer(lab_server, tmp_path) as reviewer:
        page = reviewer.page
        await _open(page, FIRST)
        await page.get_by_role("button", name="Accept").click()
        await lab.introduce(page, "Ada")
        await expect(page.get_by_role("status")).to_contain_text("Accepted")
        await page.get_by_role("link", name="Review").last.click()
        row = page.locator(f"[data-session='{FIRST}']")
        await expect(row).to_contain_text("Accepted")
        await expect(row).to_contain_text("by Ada")
        await page.get_by_role("button", name="Rejected").click()
        await expect(row).to_have_count(0)
        await page.get_by_role("button", name="Accepted").click()
        await page.get_by_role("button", name="Rejected").click()
        await expect(row).to_have_count(1)
        await page.get_by_role("button", name="FAIL").click()
        await expect(row).to_have_count(0)
        await page.get_by_role("button", name="FAIL").click()
        await page.get_by_role("combobox", name="Order").click()
        await page.get_by_role("option", name="Oldest first").click()
        await row.click()
        # Kept over a reload, and changed when somebody else sits down.
        await page.reload()
        await page.get_by_role("button", name="As Ada").click()
        await lab.introduce(page, "Grace\u202eadA")
        await expect(page.get_by_text("characters that cannot be seen")).to_be_visible()
        await lab.introduce(page, "Grace")
        await expect(page.get_by_role("button", name="As Grace")).to_be_visible()
        await page.get_by_role("button", name="Take back").click()
        await expect(page.get_by_role("status")).to_contain_text("Not reviewed")
        await page.get_by_role("link", name="Settings").click()
        await expect(page.get_by_text("Signed in with the admin key as Grace.")).to_be_visible()
        await expect(page.get_by_role("row", name=f"accepted {FIRST}").first).to_contain_text(
            "Ada, admin"
        )
        await expect(page.get_by_role("row", name=f"review of {FIRST}").first).to_be_visible()


async def test_an_operators_whole_session(lab_server: Server) -> None:
    """Pair, choose, check, start, previews that change, pause, stop, uploads verified; then the
    review of what was recorded: its flags can be clicked, and it is accepted.
    """
    async with (
        lab.chromium() as browser,
        lab.headsets(
            lab_server, 2, prefix="WHOLE", fps=10, uploads=True, make=recorded.make
        ) as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
        lab.visitor(lab_server, browser) as manager,
    ):
        page = operator.page
        await operator.pair()
        await lab.choose(page, "Quest 0001", "Quest 0002")
        await lab.describe(page)
        await page.get_by_role("button", name="Start 2 headsets").click()
        await expect(page.locator("li[data-light=good]")).to_have_count(2)
        preview = page.locator("canvas").first
        before = await lab.picture(preview)
        # Four seconds, as the known flags need.
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"00:(0[4-9]|[1-5]\d)"))
        await lab.picture_changes(preview, before)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_text("2 of 2 headsets verified and safe to delete")).to_be_visible(
            timeout=30_000
        )

        recording = fleet[0].recorder.uploaded[0].key.split("/")[1] if fleet[0].recorder else ""
        await manager.sign_in_as_manager()
        page = manager.page
        await _open(page, recording)
        await expect(page.get_by_text("Quest 0001")).to_be_visible()
        take = page.get_by_role("group", name="Take")
        await expect(take).to_contain_text("P-017, Fold a towel, take 1")
        await page.locator("[data-lane=trackingErrors] rect").click()
        await _at(page, recorded.TRACKING[0])
        await page.get_by_role("button", name="Accept").click()
        await lab.introduce(page, "Ada")
        await expect(page.get_by_role("status")).to_contain_text("Accepted")
        async with lab_server.http(admin=True) as http:
            kept = (await http.get(f"/api/qa-metrics/{recording}")).json()
        assert kept["review"]["decision"] == "accepted"
        assert kept["captureSessionId"]


async def test_a_damaged_recording_can_still_be_looked_at_and_rejected(lab_server: Server) -> None:
    session_id = "20260302_100000"
    async with lab_server.http("REVIEW_0001", DeviceType.HEADSET) as http:
        await recorded.broken(lab_server, http, session_id)
    async with lab.chromium() as browser, lab.visitor(lab_server, browser) as manager:
        await manager.sign_in_as_manager()
        page = manager.page
        await manager.open(f"/review/{session_id}")
        await expect(page.get_by_text("The video cannot be played")).to_be_visible()
        await expect(page.get_by_text("The tracking data is missing")).to_be_visible()
        await expect(page.get_by_text("FAIL", exact=True)).to_be_visible()
        await page.keyboard.press("r")
        await lab.introduce(page, "Ada")
        await page.get_by_role("button", name="Bad tracking").click()
        await page.get_by_role("button", name="Reject", exact=True).click()
        await expect(page.get_by_role("status")).to_contain_text("Rejected")
