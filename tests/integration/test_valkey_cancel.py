"""Who is told to stop while Valkey is asked stops, on every Python."""

import asyncio

import pytest

from quest_backend.state.valkey import Valkey

pytestmark = pytest.mark.asyncio


async def test_a_cancelled_call_ends_its_task(valkey_url: str) -> None:
    """Cancelled after each number of turns of the event loop: at whichever step the call is."""
    valkey = Valkey(valkey_url, 2)

    async def ask() -> None:
        while True:
            await valkey.call(valkey.client.ping())
            await asyncio.sleep(0)

    try:
        await valkey.ping()
        for turns in range(200):
            asking = asyncio.create_task(ask())
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            done, _ = await asyncio.wait([asking], timeout=0.5)
            assert done, "it goes on"
            assert asking.cancelled()
    finally:
        await valkey.close()
