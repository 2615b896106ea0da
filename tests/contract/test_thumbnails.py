"""`dashboard-watch`: a picture a second of the headsets that a page shows."""

import asyncio
import base64
import time
from typing import Any

import lab
import pytest
from support import Client, Server, dashboard, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.protocol.errors import ErrorCode

pytestmark = pytest.mark.asyncio

JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


async def _stream(quest: Client, seconds: float) -> None:
    """30 frames a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await quest.send(catalogue.HEADSET_FRAME, base64.b64encode(JPEG).decode())
        await asyncio.sleep(1 / 30)


def _frames(client: Client) -> list[tuple[Any, ...]]:
    return [args for name, args in client.events if name == catalogue.ON_HEADSET_FRAME.name]


async def test_a_picture_a_second_and_no_more(server: Server) -> None:
    async with headset(server) as quest, headset(server) as other, dashboard(server) as viewer:
        await viewer.send(catalogue.DASHBOARD_WATCH, [quest.identity])
        await asyncio.gather(_stream(quest, 2.5), _stream(other, 2.5))
        frames = _frames(viewer)
        assert {frame[0] for frame in frames} == {quest.identity}
        assert 2 <= len(frames) <= 4
        assert frames[0][3] == JPEG


async def test_the_last_list_counts_and_an_empty_one_ends_it(server: Server) -> None:
    async with headset(server) as quest, headset(server) as other, dashboard(server) as viewer:
        await viewer.send(catalogue.DASHBOARD_WATCH, [quest.identity])
        await viewer.send(catalogue.DASHBOARD_WATCH, [other.identity])
        await viewer.settled()
        await asyncio.gather(_stream(quest, 0.3), _stream(other, 0.3))

        async def some() -> bool:
            return bool(_frames(viewer))

        await lab.until(some)
        assert {frame[0] for frame in _frames(viewer)} == {other.identity}
        await viewer.send(catalogue.DASHBOARD_WATCH, [])
        await viewer.settled()
        viewer.forget()
        await _stream(other, 1.2)
        assert _frames(viewer) == []


async def test_in_the_room_no_picture_comes_twice(server: Server) -> None:
    async with headset(server) as quest, tablet(server) as viewer:
        await viewer.ask(catalogue.TABLET_LOCK_DEVICE, catalogue.ON_DEVICE_LOCKED, quest.identity)
        await viewer.send(catalogue.DASHBOARD_WATCH, [quest.identity])
        await viewer.settled()
        await _stream(quest, 0.3)
        await viewer.gets(catalogue.ON_HEADSET_FRAME_UPDATED)
        assert _frames(viewer) == []


async def test_too_many_or_no_ids_are_refused(server: Server) -> None:
    async with headset(server) as quest, dashboard(server) as viewer:
        await viewer.send(catalogue.DASHBOARD_WATCH, [quest.identity])
        for bad in ([f"QUEST_{n}" for n in range(101)], ["no such id!"], "QUEST_1", None):
            viewer.forget()
            await viewer.send(catalogue.DASHBOARD_WATCH, bad)
            refused = await viewer.gets(catalogue.ERROR)
            assert refused["code"] == ErrorCode.INVALID_INPUT
        # What it watched before, it still does.
        await _stream(quest, 0.2)

        async def some() -> bool:
            return bool(_frames(viewer))

        await lab.until(some)
