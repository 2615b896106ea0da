"""Results of recordings that are gone are forgotten, with a real Valkey and a real S3."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from recordings import SESSION

from quest_backend.clock import Clock
from quest_backend.jobs import forgetting
from quest_backend.jobs.forgetting import Forgotten, forget_gone
from quest_backend.protocol.recordings import FileType, key_of
from quest_backend.qa.judge import Judge
from quest_backend.qa.recording import missing
from quest_backend.qa.score import score_session
from quest_backend.qa.verdict import BUILT_IN
from quest_backend.state.qa import QaStore, fingerprint
from quest_backend.state.valkey import Valkey
from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.presign import Credentials
from quest_backend.storage.s3 import ObjectStore, ObjectStoreUnavailable

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    child = EmbeddedS3(tmp_path)
    await child.start()
    store = ObjectStore("bucket", embedded.REGION, child.endpoint, child.credentials)
    await store.open()
    await store.make_bucket()
    yield store
    await store.close()
    await child.stop()


@pytest_asyncio.fixture
async def results(store_url: str) -> AsyncIterator[QaStore]:
    valkey = Valkey(store_url, 2)
    yield QaStore(valkey, Clock(), Judge.of(BUILT_IN, "standard"))
    await valkey.close()


async def upload(bucket: ObjectStore, session_id: str, file_type: FileType) -> None:
    key = key_of(session_id, file_type)
    upload_id = await bucket.begin(key, "text/plain", {})
    part = await bucket.put_part(key, upload_id, 1, b"content")
    await bucket.complete(key, upload_id, [part])


async def put(results: QaStore, session_id: str) -> None:
    made = score_session(session_id, missing(), None)
    await results.put(made, fingerprint(session_id, None), 1)


@pytest.mark.parametrize("at_once", [500, 3])
async def test_only_what_is_gone_is_forgotten(
    results: QaStore, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Whatever the sizes of pages; either file keeps a result."""
    monkeypatch.setattr(forgetting, "_RESULTS", at_once)
    monkeypatch.setattr(forgetting, "_KEYS", at_once)
    ids = [f"20260206_1400{number:02}" for number in range(20)]
    for number, session_id in enumerate(ids):
        await put(results, session_id)
        if number % 3 == 0:
            await upload(bucket, session_id, FileType.DATA)
        if number % 4 == 0:
            await upload(bucket, session_id, FileType.VIDEO)
    # Never measured, and before, between and after the others.
    for other in ("20200101_000000", "20260206_140099", "20300101_000000"):
        await upload(bucket, other, FileType.DATA)
    kept = [each for number, each in enumerate(ids) if number % 3 == 0 or number % 4 == 0]
    assert await forget_gone(results, bucket) == Forgotten(20, 20 - len(kept))
    page = await results.page("", 100)
    assert [each["sessionId"] for each in page.sessions] == kept
    assert (await results.totals())[0].sessions == len(kept)
    assert await forget_gone(results, bucket) == Forgotten(len(kept), 0)


async def test_nothing_is_forgotten_while_the_bucket_is_away(results: QaStore) -> None:
    await put(results, SESSION)
    away = ObjectStore("bucket", "us-east-1", "http://127.0.0.1:1", Credentials("key", "secret"))
    await away.open()
    with pytest.raises(ObjectStoreUnavailable):
        await forget_gone(results, away)
    await away.close()
    assert await results.get(SESSION) is not None
