"""An operator's work, with a tablet in portrait, in a real browser."""

import asyncio
import re
from typing import Any

import httpx
import lab
import pytest
from playwright.async_api import Page, expect
from support import Server

pytestmark = pytest.mark.asyncio


async def _ready(operator: lab.Visitor, *names: str) -> Page:
    """Pair the tablet, choose headsets by name and describe the take: ready to start."""
    await operator.pair()
    await lab.choose(operator.page, *names)
    await lab.describe(operator.page)
    return operator.page


async def _seconds(page: Page) -> int:
    minutes, seconds = (await page.get_by_role("timer").inner_text()).split(":")
    return int(minutes) * 60 + int(seconds)


async def _drawn(page: Page) -> int:
    return int(await page.locator("canvas").first.get_attribute("data-frames") or 0)


async def _more_than(page: Page, count: int) -> bool:
    return await _drawn(page) > count


async def test_an_operator_records_a_take(lab_server: Server) -> None:
    """Pair, choose, describe, check, start, live previews, pause, resume, stop, next take."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="CAPA", fps=10) as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        await operator.pair()
        page = operator.page
        await lab.choose(page, "Quest 0001")
        await page.get_by_role("button", name="Next: check").click()
        await expect(page.get_by_text("Whom do the headsets record?")).to_be_visible()
        await lab.describe(page)
        card = page.locator("li[data-device=CAPA_0001]")
        await expect(card).to_contain_text("Live")

        await page.get_by_role("button", name="Start 1 headset").click()
        await expect(page.get_by_role("status")).to_have_text("Recording")
        await expect(card.get_by_text("Recording", exact=True)).to_be_visible()
        assert fleet[0].recording
        assert not fleet[1].recording
        preview = page.locator("canvas").first
        drawn, picture = await _drawn(page), await lab.picture(preview)
        await lab.until(lambda: _more_than(page, drawn + 5))
        await lab.picture_changes(preview, picture)

        await page.get_by_role("button", name="Pause").click()
        await expect(card.get_by_text("Paused", exact=True)).to_be_visible()
        assert not fleet[0].recording
        await page.get_by_role("button", name="Resume").click()
        await expect(card.get_by_text("Recording", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("heading", name="Take 1 complete")).to_be_visible()
        await page.get_by_role("button", name="Next take").click()
        await expect(page.get_by_text("Take 2")).to_be_visible()
        await expect(page.get_by_role("button", name="Start 1 headset")).to_be_enabled()


async def test_discarding_asks_for_holding(lab_server: Server) -> None:
    """A tap does nothing; holding marks the session, and the next take has its number."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="CAPB"),
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
        lab_server.http(admin=True) as http,
    ):
        page = await _ready(operator, "Quest 0001")
        await page.get_by_role("button", name="Start 1 headset").click()
        await page.get_by_role("button", name="Stop").click()
        hold = page.get_by_role("button", name="Hold to discard")
        await hold.click()
        await expect(page.get_by_text("Kept")).to_be_visible()
        await page.reload()  # the take is still there to be decided on
        await hold.hover()
        await page.mouse.down()
        await expect(page.get_by_role("heading", name="Take 1 discarded")).to_be_visible()
        await page.mouse.up()
        await page.reload()
        await expect(page.get_by_role("heading", name="Take 1 discarded")).to_be_visible()
        (row,) = (await http.get("/api/sessions")).json()["sessions"]
        assert row["status"] == "completed"
        assert row["discardedAt"]
        await page.get_by_role("button", name="Record it again").click()
        await expect(page.get_by_text("Take 1")).to_be_visible()


async def test_a_reload_and_a_server_restart_change_nothing(lab_server: Server) -> None:
    """In the middle of a session: the same session, the same locks, the timer goes on."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="CAPC") as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        page = await _ready(operator, "Quest 0001", "Quest 0002")
        await page.get_by_role("button", name="Start 2 headsets").click()
        cards = page.locator("li[data-light=good]")
        await expect(cards).to_have_count(2)
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"00:0[3-9]"))

        await page.reload()
        await expect(cards).to_have_count(2)
        assert await _seconds(page) >= 3

        lab_server.kill()
        await expect(page.get_by_role("alert").first).to_contain_text("No connection")
        await asyncio.to_thread(lab_server.start)
        await expect(page.get_by_role("alert")).to_have_count(0)
        await expect(cards).to_have_count(2)
        assert all(headset.recording for headset in fleet)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("heading", name="Take 1 complete")).to_be_visible()


async def test_a_headset_that_does_not_start_is_named(lab_server: Server) -> None:
    """Retry reaches it; or the operator goes on with the others."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="CAPD") as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
    ):
        obeys = fleet[1].on_event

        async def deaf(name: str, _args: tuple[Any, ...]) -> None:
            """An app that hangs."""

        fleet[1].on_event = deaf  # type: ignore[method-assign]  # one headset that misbehaves
        page = await _ready(operator, "Quest 0001", "Quest 0002")
        await page.get_by_role("button", name="Start 2 headsets").click()
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text("Quest 0002: not recording")
        await expect(alert.get_by_role("button", name="Go on with 1 of 2")).to_be_visible()
        fleet[1].on_event = obeys  # type: ignore[method-assign]  # it listens again
        await alert.get_by_role("button", name="Retry").click()
        await expect(page.locator("li[data-light=good]")).to_have_count(2)
        await expect(alert).to_have_count(0)


async def test_two_tablets_race_for_one_headset(lab_server: Server) -> None:
    """One gets it; the other is told who has it, and goes on without it."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 2, prefix="CAPE") as fleet,
        lab.visitor(lab_server, browser, **lab.TABLET) as first,
        lab.visitor(lab_server, browser, **lab.TABLET) as second,
    ):
        await asyncio.gather(first.pair("Bench A"), second.pair("Bench B"))
        await lab.choose(first.page, "Quest 0001")
        await lab.choose(second.page, "Quest 0001", "Quest 0002")
        await asyncio.gather(lab.describe(first.page), lab.describe(second.page, "P-018"))
        async with lab_server.http(admin=True) as http:
            tablets = (await http.get("/api/tablets")).json()["tablets"]
            holder = await lab.until(lambda: _holder(http, "CAPE_0001"))
        winner = next(row["name"] for row in tablets if row["socketId"] == holder)
        page = (second if winner == "Bench A" else first).page
        await expect(page.locator("li[data-device=CAPE_0001]")).to_contain_text(
            f"In use by {winner}"
        )
        if winner == "Bench A":
            await page.get_by_role("button", name="Go on with 1 of 2").click()
            await expect(page.locator("li[data-device=CAPE_0002][data-light=good]")).to_be_visible()
            assert not fleet[0].recording
        else:
            await expect(page.get_by_role("button", name="Go on with 0 of 1")).to_be_disabled()


async def _holder(http: httpx.AsyncClient, device_id: str) -> str:
    device = (await http.get(f"/api/devices/{device_id}")).json()["device"]
    return str(device.get("lockedByTabletId", ""))


async def test_a_take_with_the_keyboard_only(lab_server: Server) -> None:
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="CAPF") as fleet,
        lab.visitor(lab_server, browser) as operator,
    ):
        await operator.pair()
        page = operator.page
        keys = page.keyboard

        async def tab_to(name: str) -> None:
            for _ in range(40):
                focused = await page.evaluate(
                    "(() => { const e = document.activeElement;"
                    " if (e === document.body) return ''; return (e.ariaLabel ?? '') + ' ' +"
                    " (e.labels?.[0]?.innerText ?? '') + ' ' + e.innerText; })()"
                )
                if name in focused:
                    return
                await keys.press("Tab")
            raise AssertionError(f"{name} cannot be reached with Tab")

        await expect(page.get_by_role("checkbox", name="Quest 0001")).to_be_visible()
        await tab_to("Quest 0001")
        await keys.press("Space")
        await tab_to("Next: details")
        await keys.press("Enter")
        await tab_to("Participant")
        await keys.type("P-1")
        await tab_to("Task")
        await keys.type("Pour")
        await tab_to("Next: check")
        await keys.press("Enter")
        await expect(page.get_by_role("button", name="Start 1 headset")).to_be_enabled()
        await tab_to("Start 1 headset")
        await keys.press("Enter")
        await expect(page.locator("li[data-light=good]")).to_have_count(1)
        assert fleet[0].recording
        await tab_to("Stop")
        await keys.press("Enter")
        await expect(page.get_by_role("heading", name="Take 1 complete")).to_be_visible()
        await tab_to("Hold to discard")
        await keys.down("Enter")
        await expect(page.get_by_role("heading", name="Take 1 discarded")).to_be_visible()
        await keys.up("Enter")


async def test_a_token_is_renewed_and_the_locks_stay(lab_server: Server) -> None:
    """A token that would end in an hour is renewed at once, for the same tablet."""
    async with (
        lab.chromium() as browser,
        lab.headsets(lab_server, 1, prefix="CAPG"),
        lab.visitor(lab_server, browser, **lab.TABLET) as operator,
        lab_server.http(admin=True) as http,
    ):
        page = await _ready(operator, "Quest 0001")
        await lab.until(lambda: _holder(http, "CAPG_0001"))
        ends = (
            "(() => { const c = JSON.parse(localStorage.getItem('quest.credentials'));"
            " return c.expiresAt - Date.now() / 1000; })()"
        )
        await page.evaluate(
            "(() => { const c = JSON.parse(localStorage.getItem('quest.credentials'));"
            " c.expiresAt -= 23 * 3600;"
            " localStorage.setItem('quest.credentials', JSON.stringify(c)); })()"
        )
        assert await page.evaluate(ends) < 3700
        await page.reload()

        async def renewed() -> bool:
            return bool(await page.evaluate(ends) > 23 * 3600)

        await lab.until(renewed)
        await expect(page.get_by_role("button", name="Start 1 headset")).to_be_enabled()
        rows = (await http.get("/api/tablets")).json()["tablets"]
        sockets = {row["socketId"] for row in rows}
        assert await _holder(http, "CAPG_0001") in sockets
