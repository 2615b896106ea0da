"""The audit trail and paired tablets on real stores."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from quest_backend.clock import Clock
from quest_backend.protocol.limits import AUDIT_WINDOW_S, PAIRING_LIFETIME_S
from quest_backend.state import keys
from quest_backend.state.audit import AuditTrail
from quest_backend.state.tablets import TabletRegistry, UnknownTabletError
from quest_backend.state.valkey import StoreUnavailable, Valkey

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def valkey(store_url: str) -> AsyncIterator[Valkey]:
    opened = Valkey(store_url, timeout_s=2)
    yield opened
    await opened.close()


class TestAuditTrail:
    async def test_entries_come_back_newest_first_over_pages(self, valkey: Valkey) -> None:
        trail = AuditTrail(valkey, Clock())
        for number in range(2500):
            trail.note("tablet_1", "lock", f"QUEST_{number}")
        await trail.flush()
        found = [entry.subject async for entry in trail.newest_first()]
        assert found == [f"QUEST_{number}" for number in reversed(range(2500))]

    async def test_older_than_90_days_is_neither_shown_nor_kept(self, valkey: Valkey) -> None:
        now = Clock().unix_ms()
        old = now - (AUDIT_WINDOW_S + 60) * 1000
        for sequence in range(3000):
            fields = {"at": "2020", "actor": "a", "action": "lock", "subject": "old"}
            await valkey.call(valkey.client.xadd(keys.AUDIT, fields, id=f"{old}-{sequence}"))  # type: ignore[arg-type]  # redis-py's dict is invariant
        trail = AuditTrail(valkey, Clock())
        trail.note("admin", "rename", "new")
        await trail.flush()
        assert [entry.subject async for entry in trail.newest_first()] == ["new"]
        # Whole nodes of the stream are let go, so a few may be left.
        assert await valkey.call(valkey.client.xlen(keys.AUDIT)) < 200

    async def test_what_cannot_be_written_waits(self, valkey: Valkey) -> None:
        away = Valkey("unix:///nowhere/at-all.sock", timeout_s=0.2)
        trail = AuditTrail(away, Clock())
        trail.note("admin", "rename", "QUEST_1")
        with pytest.raises(StoreUnavailable):
            await trail.flush()
        await away.close()
        trail._valkey = valkey
        await trail.flush()
        assert [entry.subject async for entry in trail.newest_first()] == ["QUEST_1"]


class TestTabletRegistry:
    async def test_a_code_lives_five_minutes(self, valkey: Valkey) -> None:
        offer = await TabletRegistry(valkey, Clock()).offer("Bench A")
        left = await valkey.call(valkey.client.ttl(keys.pairing(offer.code)))
        assert PAIRING_LIFETIME_S - 5 <= left <= PAIRING_LIFETIME_S

    async def test_of_many_who_use_a_code_one_is_paired(self, valkey: Valkey) -> None:
        registry = TabletRegistry(valkey, Clock())
        code = (await registry.offer("Bench B")).code
        before = {tablet.tablet_id for tablet in await registry.paired()}
        answers = await asyncio.gather(*(registry.take(code) for _ in range(20)))
        won = [tablet.tablet_id for tablet in answers if tablet is not None]
        assert len(won) == 1
        assert {tablet.tablet_id for tablet in await registry.paired()} - before == set(won)

    async def test_revoked_stays_revoked(self, valkey: Valkey) -> None:
        registry = TabletRegistry(valkey, Clock())
        paired = await registry.take((await registry.offer("Bench A")).code)
        assert paired is not None
        assert await registry.revoked() == set()
        first = await registry.revoke(paired.tablet_id)
        assert await registry.revoke(paired.tablet_id) == first
        assert await registry.revoked() == {paired.tablet_id}
        with pytest.raises(UnknownTabletError):
            await registry.revoke("tablet_unknown")
