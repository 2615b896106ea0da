"""A lab in one test: a server, simulated headsets in this process, and a real browser."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect
from support import ADMIN_KEY, TOKENS, Server

from quest_backend.client import FileType
from quest_backend.protocol.events import DeviceType
from quest_backend.simulator import pictures, recordings
from quest_backend.simulator.devices import SimulatedHeadset
from quest_backend.simulator.recordings import Take
from quest_backend.simulator.uploads import Recorder

_Answer = TypeVar("_Answer")
Make = Callable[[Take, Path], dict[FileType, Path]]
CHROMIUM = "/usr/bin/chromium"
# Headsets that connect together: more than this on a busy machine takes the store beyond its timeout.
_AT_ONCE = 20
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TABLET: dict[str, Any] = {"viewport": {"width": 800, "height": 1280}, "has_touch": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}

# For what a page has to show or do; a busy machine takes longer than the usual five seconds.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A fresh browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """Somebody at a browser of their own. What the page complains of is kept in ``complaints``."""

    def __init__(self, server: Server, context: BrowserContext, page: Page) -> None:
        self.server = server
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self._console(line.type, line.text))

    def _console(self, kind: str, text: str) -> None:
        # The browser itself reports requests to a server that is down.
        if kind == "error" and "Failed to load resource" not in text and "WebSocket" not in text:
            self.complaints.append(text)

    async def open(self, path: str) -> None:
        """Go to a page of the console."""
        await self.page.goto(f"{self.server.url}/#{path}")

    async def sign_in_as_manager(self) -> None:
        """As with the link that ``make run`` prints."""
        await self.open(f"/sign-in/{ADMIN_KEY}")
        await self.page.get_by_role("heading", name="Fleet").wait_for()

    async def sign_in_as_tablet(self, code: str) -> None:
        """Type a pairing code."""
        await self.open("/")
        await self.page.get_by_label("Code").fill(code)
        await self.page.get_by_role("button", name="Pair").click()
        await self.page.get_by_role("navigation").wait_for()

    async def pair(self, name: str = "Lab 2, bench A") -> None:
        """Become a tablet with a code that an admin asked for."""
        async with self.server.http(admin=True) as http:
            answer = await http.post("/api/tablets/pairings", json={"name": name})
        await self.sign_in_as_tablet(answer.json()["code"])


@contextlib.asynccontextmanager
async def visitor(
    server: Server, browser: Browser, patience_ms: int = PATIENCE_MS, **options: Any
) -> AsyncIterator[Visitor]:
    """Open a browser window; what the page complained of fails the test."""
    context = await browser.new_context(**(options or DESKTOP))
    context.set_default_timeout(patience_ms)
    someone = Visitor(server, context, await context.new_page())
    try:
        yield someone
    finally:
        await context.close()
    assert not someone.complaints, someone.complaints


@contextlib.asynccontextmanager
async def headsets(
    server: Server,
    count: int,
    *,
    prefix: str,
    fps: float = 5,
    uploads: bool = False,
    make: Make = recordings.make,
) -> AsyncIterator[list[SimulatedHeadset]]:
    """Simulated headsets that stream; they come back when the server does.

    ``uploads``: they also write real recordings, by ``make``, and upload them.
    """
    frames = pictures.loop(prefix, 8)
    encoders = asyncio.Semaphore(2)
    fleet = []
    for number in range(1, count + 1):
        device_id = f"{prefix}_{number:04d}"
        token = TOKENS.issue(device_id, DeviceType.HEADSET)
        headset = SimulatedHeadset(
            server.url, device_id, token, ["websocket"], frames=frames, fps=fps, seed=number
        )
        if uploads:
            headset.recorder = Recorder(server.url, device_id, token, encoders, make)
        fleet.append(headset)
    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*(headset.connect() for headset in fleet[start : start + _AT_ONCE]))
    for headset in fleet:
        headset.run()
    try:
        yield fleet
    finally:
        await asyncio.gather(*(headset.stop() for headset in fleet))


async def choose(page: Page, *names: str) -> None:
    """The first step of a capture."""
    await page.get_by_role("link", name="Capture").click()
    for name in names:
        await page.get_by_role("checkbox", name=name).check()
    await page.get_by_role("button", name="Next: details").click()


async def describe(page: Page, participant: str = "P-017") -> None:
    """The second step."""
    await page.get_by_label("Participant").fill(participant)
    await page.get_by_role("combobox", name="Task").fill("Fold a towel")
    await page.get_by_role("button", name="Next: check").click()


async def picture(preview: Locator) -> str:
    """The pixels that a preview shows now."""
    await expect(preview).to_be_visible()
    # Not a screenshot: on a busy machine one of those takes seconds, and the pictures of simulated
    # headsets come again after less than one.
    return str(await preview.evaluate("canvas => canvas.toDataURL()"))


async def picture_changes(preview: Locator, before: str) -> None:
    """A preview shows something else than it did."""

    async def changed() -> bool:
        return await picture(preview) != before

    await until(changed, timeout_s=30)


async def introduce(page: Page, name: str) -> None:
    """Answer who one is, which is asked before the first decision."""
    await page.get_by_role("textbox", name="Your name").fill(name)
    await page.keyboard.press("Enter")


async def until(check: Callable[[], Awaitable[_Answer]], timeout_s: float = 10) -> _Answer:
    """The first answer of ``check`` that is true, asked again and again."""
    deadline = time.monotonic() + timeout_s
    answer = await check()
    while not answer:
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.05)
        answer = await check()
    return answer
