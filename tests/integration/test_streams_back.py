"""A new primary whose streams end before what a node has read: nobody is deaf to what comes."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from quest_backend.state import keys
from quest_backend.state.changes import Changes
from quest_backend.state.valkey import Valkey
from quest_backend.state.versions import VERSION

pytestmark = pytest.mark.asyncio
IN_A_MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def valkey(store_url: str) -> AsyncIterator[Valkey]:
    opened = Valkey(store_url, 2)
    yield opened
    await opened.close()


async def test_a_node_hears_what_an_earlier_clock_adds(valkey: Valkey) -> None:
    node, other = (Changes(valkey, name, 0.1) for name in ("node-a", "node-b"))
    await node.begin()
    seconds, _ = await valkey.client.time()
    ahead = seconds * 1000 + IN_A_MINUTE_MS
    known: dict[Any, Any] = {"m": orjson.dumps({"v": VERSION, "i": "known", "k": "old"}).decode()}
    for stream in (keys.CHANGES, keys.inbox("node-a")):
        await valkey.client.xadd(stream, known, id=f"{ahead}-0")
    assert [each["k"] for each in await node.read()] == ["old"]

    # The new primary has neither: its clock is a minute behind, and it was sent less.
    await valkey.client.delete(keys.CHANGES, keys.inbox("node-a"))
    await other.announce({"k": "before", "i": "1"})
    await other.post([("node-a", {"k": "command", "i": "2"})])
    assert await node.read() == [], "the fault that step_back is for"
    await node.step_back()
    await other.announce({"k": "after", "i": "3"})
    assert {each["k"] for each in await node.read()} == {"before", "command", "after"}


async def test_a_node_that_is_not_ahead_stays_where_it_is(valkey: Valkey) -> None:
    node, other = (Changes(valkey, name, 0.1) for name in ("node-a", "node-b"))
    await node.begin()
    await other.announce({"k": "one", "i": "1"})
    assert len(await node.read()) == 1
    await other.announce({"k": "two", "i": "2"})
    await node.step_back()
    assert [each["k"] for each in await node.read()] == ["two"]
