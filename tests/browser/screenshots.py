"""Pictures of the console for the README: a real server, a simulated fleet, a real browser.

``make screenshots`` writes them into ``docs/images/``.
"""

import asyncio
import math
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import lab
import orjson
import recorded
import redis.asyncio as redis
from playwright.async_api import Page
from support import Server

from quest_backend.clock import Clock
from quest_backend.simulator.devices import SimulatedHeadset
from quest_backend.state import keys

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NAMES = ("Bench A left", "Bench A right", "Bench B left", "Bench B right", "Kitchen 1",
         "Kitchen 2", "Kitchen 3", "Cart 1", "Cart 2", "Spare")  # fmt: skip
RECORDINGS = ("20260305_091500", "20260305_093012", "20260305_100345")
REVIEWER = "Reviewer 2"
SAMPLE_MS = 300_000
# Nothing is tested here.
PATIENCE_MS = 180_000


async def _name_and_age(server: Server, fleet: list[SimulatedHeadset]) -> None:
    """Give every headset a name and a day of simulated telemetry, as if it had run since."""
    async with server.http(admin=True) as http:
        for headset, name in zip(fleet, NAMES, strict=True):
            await http.post(f"/api/devices/{headset.device_id}/name", json={"customName": name})
    now = Clock().unix_ms()
    async with redis.Redis.from_url(f"unix://{server.data_dir}/valkey/valkey.sock") as store:
        for headset in fleet:
            rows = {}
            for step in range(288):
                at = now - (288 - step) * SAMPLE_MS
                day = step / 288 * 2 * math.pi
                sample = headset.telemetry() | {
                    "timestamp": at,
                    "batteryLevel": round(0.62 + 0.34 * math.cos(3 * day), 3),
                    "trackingConfidence": round(0.93 + 0.05 * math.sin(11 * day), 3),
                    "cpuTemperature": round(46 + 6 * math.sin(3 * day), 1),
                    "gpuTemperature": round(48 + 5 * math.sin(3 * day + 0.3), 1),
                    "wifiSignalLevel": round(-55 + 8 * math.sin(5 * day)),
                    "storageUsedBytes": int(41e9 + 70e9 * (step % 144) / 144),
                }
                rows[orjson.dumps(sample).decode()] = at
            await store.zadd(keys.history(headset.device_id), rows)


async def _shot(page: Page, name: str) -> None:
    await page.mouse.move(0, 0)
    await page.wait_for_load_state("networkidle")
    # Alone so that a transition that a click began is over.
    await page.wait_for_timeout(400)
    await page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=82)
    print(f"docs/images/{name}.jpg")


async def _manager(server: Server, visitor: lab.Visitor, size: str) -> None:
    page = visitor.page
    await visitor.sign_in_as_manager()
    await page.get_by_text("now", exact=True).nth(4).wait_for()
    await _shot(page, f"fleet-{size}")
    if size == "desktop":
        await page.get_by_text("Table", exact=True).click()
        await _shot(page, f"table-{size}")
    await page.get_by_role("link", name="Bench A left").click()
    await page.get_by_text("Live", exact=True).wait_for()
    await page.locator("canvas").nth(3).wait_for()
    await _shot(page, f"device-{size}")
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("row").nth(3).wait_for()
    await _shot(page, f"settings-{size}")
    if size == "desktop":
        return
    await page.get_by_role("button", name="Pair a tablet").click()
    await page.get_by_label("Name").fill("Lab 2, bench B")
    await page.get_by_role("button", name="Show a code").click()
    await page.get_by_role("img", name="Code to scan").wait_for()
    await _shot(page, f"pair-{size}")


async def _reviewer(server: Server, visitor: lab.Visitor, size: str) -> None:
    page = visitor.page
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Say who you are").click()
    await lab.introduce(page, REVIEWER)
    await page.get_by_text(f"as {REVIEWER}").wait_for()
    await page.get_by_role("link", name="Uploads").click()
    await page.get_by_text("Headsets and files").first.click()
    await page.locator("li[data-stage]").first.wait_for()
    await _shot(page, f"uploads-{size}")
    await page.get_by_role("link", name="Storage").click()
    await page.get_by_role("heading", name="Processed outputs").wait_for()
    await _shot(page, f"storage-{size}")
    await page.get_by_role("link", name="Review").click()
    async with server.http(admin=True) as http:
        decision = {"decision": "accepted", "reason": ""}
        who = {"X-Admin-Name": quote(REVIEWER)}
        await http.put(f"/api/qa-metrics/{RECORDINGS[0]}/review", json=decision, headers=who)
    await page.reload()
    await page.locator(f"[data-session='{RECORDINGS[0]}']").wait_for()
    await _shot(page, f"review-{size}")
    await page.locator(f"[data-session='{RECORDINGS[1]}']").click()
    await page.locator("[data-lane=trackingErrors] rect").click()
    await _shot(page, f"recording-review-{size}")


async def _operator(visitor: lab.Visitor, size: str) -> None:
    page = visitor.page
    await visitor.open("/")
    await page.get_by_role("heading", name="Pair this tablet").wait_for()
    await _shot(page, f"sign-in-{size}")
    await visitor.pair("Lab 2, bench A")
    for name in ("Bench A left", "Bench A right", "Bench B left", "Kitchen 2"):
        await page.get_by_role("checkbox", name=name).check()
    await _shot(page, f"choose-{size}")
    await page.get_by_role("button", name="Next: details").click()
    await page.get_by_label("Participant").fill("P-017")
    await page.get_by_role("combobox", name="Study").fill("Kitchen")
    await page.get_by_role("combobox", name="Task").fill("Fold a towel")
    await page.get_by_role("button", name="Keep as a preset").click()
    await _shot(page, f"details-{size}")
    await page.get_by_role("button", name="Next: check").click()
    await page.get_by_text("Live", exact=True).nth(2).wait_for()
    await _shot(page, f"check-{size}")
    await page.get_by_role("button", name="Go on with 3 of 4").click()
    await page.locator("li[data-light=good]").nth(2).wait_for()
    await page.get_by_role("timer").get_by_text("00:05").wait_for()
    await _shot(page, f"recording-{size}")


async def main() -> None:
    """Every page on a tablet and at a desk, the fleet in the dark, too."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.to_thread(Server(Path(folder)).start)
        try:
            await _pictures(server)
        finally:
            await asyncio.to_thread(server.stop)


async def _pictures(server: Server) -> None:
    sizes: dict[str, dict[str, Any]] = {"tablet": lab.TABLET, "desktop": lab.DESKTOP}
    async with (
        lab.chromium() as browser,
        lab.headsets(server, len(NAMES), prefix="QUEST", fps=10, uploads=True) as fleet,
    ):
        await _name_and_age(server, fleet)
        with tempfile.TemporaryDirectory() as folder:
            for recording, headset in zip(RECORDINGS, fleet, strict=False):
                await recorded.upload(server, headset.device_id, recording, Path(folder))
        fleet[3].battery, fleet[5].battery = 0.19, 0.07
        async with lab.visitor(server, browser, PATIENCE_MS, **lab.TABLET) as operator:
            await _operator(operator, "tablet")
            await fleet[9].stop()
            for size, options in sizes.items():
                async with lab.visitor(server, browser, PATIENCE_MS, **options) as manager:
                    await _manager(server, manager, size)
            async with lab.visitor(
                server, browser, PATIENCE_MS, **lab.DESKTOP, color_scheme="dark"
            ) as manager:
                await manager.sign_in_as_manager()
                await manager.page.get_by_text("now", exact=True).nth(4).wait_for()
                await _shot(manager.page, "fleet-dark")
            await operator.page.get_by_role("button", name="Stop").click()
            await operator.page.get_by_role("heading", name="complete").wait_for()
            await operator.page.get_by_text("3 of 3 headsets verified").wait_for()
            await _shot(operator.page, "result-tablet")
            for size, options in sizes.items():
                async with lab.visitor(server, browser, PATIENCE_MS, **options) as reviewer:
                    await reviewer.sign_in_as_manager()
                    await _reviewer(server, reviewer, size)


if __name__ == "__main__":
    asyncio.run(main())
