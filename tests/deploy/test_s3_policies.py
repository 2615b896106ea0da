"""deploy/s3: the policies, kept by a real S3 server that refuses what they do not allow."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError
from fronts import DEPLOY

from quest_backend.storage import s3
from quest_backend.storage.embedded import EmbeddedS3
from quest_backend.storage.listing import BucketListing
from quest_backend.storage.presign import Credentials
from quest_backend.storage.s3 import BucketError, ObjectStore, ObjectStoreUnavailable

BUCKET = "turing-robotics-datahub"
POLICIES = {
    name: json.loads((DEPLOY / "s3" / f"{name}-policy.json").read_text().replace("BUCKET", BUCKET))
    for name in ("server", "worker")
}
DOCUMENT = (DEPLOY.parent / "docs" / "storage.md").read_text()
# From "Actions, resources, and condition keys for Amazon S3" of AWS's Service Authorization Reference.
NEEDS = {
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "create_multipart_upload": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "list_parts": "s3:ListMultipartUploadParts",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "head_object": "s3:GetObject",
    "delete_object": "s3:DeleteObject",
}
# SeaweedFS takes these for parts of PutObject; AWS does not.
PARTS_OF_PUTTING = {"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
# The embedded store's, whose only user is its administrator.
NEVER_OUTSIDE = {"create_bucket"}


def actions(policy: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for statement in policy["Statement"]:
        each = statement["Action"]
        found |= {each} if isinstance(each, str) else set(each)
    return found


def without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    kept = [
        {**each, "Action": [one for one in each["Action"] if one != action]}
        for each in policy["Statement"]
    ]
    return {**policy, "Statement": [each for each in kept if each["Action"]]}


USERS = {
    **POLICIES,
    **{action: without(POLICIES["server"], action) for action in actions(POLICIES["server"])},
}


class _WithUsers(EmbeddedS3):
    """The embedded store, with a user for each policy."""

    def _prepare(self) -> None:
        super()._prepare()
        path = self._dir / "identities.json"
        config = json.loads(path.read_text())
        config["policies"] = [
            {"name": name, "content": json.dumps(policy)} for name, policy in USERS.items()
        ]
        config["identities"] += [
            {
                "name": name,
                "credentials": [{"accessKey": _key(name), "secretKey": "secret"}],
                "policyNames": [name],
            }
            for name in USERS
        ]
        path.write_text(json.dumps(config))


def _key(user: str) -> str:
    return re.sub(r"\W", "", user)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    store = _WithUsers(tmp_path_factory.mktemp("s3"))
    endpoint = await store.start()
    try:
        async with opened(endpoint, store.known()[0]) as admin:
            await admin.make_bucket()
        yield endpoint
    finally:
        await store.stop()


@asynccontextmanager
async def opened(endpoint: str, credentials: Credentials) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(BUCKET, "us-east-1", endpoint, credentials)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def user(endpoint: str, name: str) -> AbstractAsyncContextManager[ObjectStore]:
    return opened(endpoint, Credentials(_key(name), "secret"))


async def upload(store: ObjectStore, key: str) -> str:
    upload_id = await store.begin(key, "video/mp4", {"quest-device": "q"})
    await store.put_part(key, upload_id, 1, b"part")
    return await store.complete(key, upload_id, await store.parts(key, upload_id))


async def reading(store: ObjectStore, key: str, etag: str) -> None:
    """All that a worker does."""
    await store.ping()
    assert [each.key for each in await store.listed("sessions/", "")]
    assert await store.read_range(key, 0, 4, etag) == b"part"
    assert (await BucketListing(store).count()).objects


async def everything(store: ObjectStore, key: str) -> None:
    """All that a server does."""
    await store.check()
    await reading(store, key, await upload(store, key))
    assert await store.head(key)
    assert await store.head(f"{key}.never") is None
    upload_id = await store.begin(key, "video/mp4", {})
    assert [each.upload_id async for each in store.unfinished(key)] == [upload_id]
    await store.abort(key, upload_id)
    await store.delete(key)
    assert await store.head(key) is None


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_can_do_its_work_with_its_policy(endpoint: str) -> None:
    async with user(endpoint, "server") as store:
        await everything(store, "sessions/20260101_000000/recording.mp4")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("action", sorted(actions(POLICIES["server"]) - PARTS_OF_PUTTING))
async def test_a_server_needs_each_permission(endpoint: str, action: str) -> None:
    async with user(endpoint, action) as store:
        with pytest.raises((BucketError, ObjectStoreUnavailable, ClientError)) as refused:
            await everything(store, f"sessions/2026{_key(action)}/recording.mp4")
    assert re.search("AccessDenied|Access Denied|403|Forbidden", str(refused.value))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_changes_nothing_but_recordings(endpoint: str) -> None:
    async with user(endpoint, "server") as store:
        with pytest.raises(ClientError, match="AccessDenied"):
            await store.begin("client_output/x.zip", "application/zip", {})
        with pytest.raises(ClientError, match="AccessDenied"):
            await store.delete("client_output/x.zip")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_only_reads(endpoint: str) -> None:
    key = "sessions/20260102_000000/recording.mp4"
    async with user(endpoint, "server") as server, user(endpoint, "worker") as worker:
        await reading(worker, key, await upload(server, key))
        with pytest.raises(ClientError, match="AccessDenied"):
            await worker.begin(key, "video/mp4", {})
        with pytest.raises(ClientError, match="AccessDenied"):
            await worker.delete(key)


def test_the_policy_allows_what_the_code_calls_and_no_more() -> None:
    called = set(re.findall(r"_client\.(\w+)", Path(s3.__file__).read_text()))
    assert called == set(NEEDS) | NEVER_OUTSIDE
    # Besides, parts are PUT and ranges are read by signed requests: PutObject and GetObject again.
    assert {NEEDS[name] for name in called - NEVER_OUTSIDE} == actions(POLICIES["server"])


def _documented() -> Iterator[Any]:
    for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL):
        yield json.loads(block)


def test_the_documentation_says_the_same() -> None:
    documented = [json.dumps(each, sort_keys=True) for each in _documented()]
    for name in ("server-policy", "lifecycle"):
        file = json.loads((DEPLOY / "s3" / f"{name}.json").read_text())
        assert json.dumps(file, sort_keys=True) in documented, name


@pytest.mark.parametrize(
    ("file", "operation", "argument"),
    [
        ("lifecycle", "PutBucketLifecycleConfiguration", "LifecycleConfiguration"),
        ("cors", "PutBucketCors", "CORSConfiguration"),
    ],
)
def test_aws_takes_the_rules(file: str, operation: str, argument: str) -> None:
    """botocore checks them as the AWS command line does before it sends them."""
    content = json.loads((DEPLOY / "s3" / f"{file}.json").read_text())
    model = botocore.session.get_session().get_service_model("s3").operation_model(operation)
    problems = botocore.validate.ParamValidator().validate(
        {"Bucket": BUCKET, argument: content}, model.input_shape
    )
    assert not problems.has_errors(), problems.generate_report()
