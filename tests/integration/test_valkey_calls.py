"""Calls of Valkey end when they are told to, on every Python, and leave nothing behind."""

import asyncio
import gc
import warnings

import pytest

from quest_backend.state.valkey import StoreUnavailable, Valkey

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


async def test_what_is_refused_in_a_pause_is_no_coroutine_never_awaited() -> None:
    away = Valkey("redis://127.0.0.1:1", 1)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            refused = 0
            for _ in range(10):
                with pytest.raises(StoreUnavailable):
                    await away.call(away.client.get("key"))
                with pytest.raises(StoreUnavailable) as refusal:
                    await away.read_streams({"stream": "0-0"}, 1, 10)
                refused += "a moment ago" in str(refusal.value)
            gc.collect()
        assert refused > 5
        assert [str(one.message) for one in said] == []
    finally:
        await away.close()
