"""The embedded object store: real data, one owner, no orphans, nothing for the unsigned."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import psutil
import pytest
from yarl import URL

from quest_backend import supervised
from quest_backend.storage import embedded
from quest_backend.storage.embedded import EmbeddedS3, EmbeddedS3Error
from quest_backend.storage.presign import Credentials, Presigner
from quest_backend.storage.s3 import BucketError, ObjectStore
from quest_backend.supervised import DataDirInUseError

pytestmark = pytest.mark.asyncio

_KEY = "sessions/20260206_143052/recording.mp4"
_PARENT = """
import pathlib, sys, asyncio, uvloop
from quest_backend.storage.embedded import EmbeddedS3
async def main():
    child = EmbeddedS3(pathlib.Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
uvloop.run(main())
"""


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[tuple[EmbeddedS3, ObjectStore]]:
    child = EmbeddedS3(data_dir)
    await child.start()
    store = ObjectStore("bucket", embedded.REGION, child.endpoint, child.credentials)
    try:
        await store.open()
        await store.make_bucket()
        yield child, store
    finally:
        await store.close()
        await child.stop()


async def put(store: ObjectStore, body: bytes) -> None:
    """One object of one part, as headsets send them."""
    upload_id = await store.begin(_KEY, "video/mp4", {"quest-device": "Q"})
    sign = (await store.presigner()).part_url(
        store.endpoint, store.bucket, _KEY, upload_id, datetime.now(UTC), 60
    )
    async with (
        aiohttp.ClientSession() as http,
        http.put(URL(sign(1), encoded=True), data=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
    await store.complete(_KEY, upload_id, await store.parts(_KEY, upload_id))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def until_it_listens(port: int) -> None:
    """The store answers for objects before the last of its inner servers is up."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return await writer.wait_closed()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_objects_and_credentials_survive_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as (child, store):
        await put(store, b"kept" * 1000)
        before = child.credentials
    assert not child.running
    async with started(tmp_path) as (child, store):
        assert child.credentials == before
        found = await store.head(_KEY)
        assert found is not None
        assert (found.size, found.metadata["quest-device"]) == (4000, "Q")


async def test_a_started_store_serves_what_it_has_at_once(tmp_path: Path) -> None:
    async with started(tmp_path) as (_, store):
        await put(store, b"kept")
    for _ in range(4):
        async with started(tmp_path) as (child, store), aiohttp.ClientSession() as http:
            url = Presigner(child.credentials, embedded.REGION).url(
                "GET", child.endpoint, f"/{store.bucket}/{_KEY}", {}, datetime.now(UTC), 60
            )
            async with http.get(URL(url, encoded=True)) as answer:
                assert (answer.status, await answer.read()) == (200, b"kept")


async def test_a_crashed_store_is_restarted_with_its_objects(tmp_path: Path) -> None:
    async with started(tmp_path) as (child, store):
        await put(store, b"kept")
        before, endpoint = child.pid, child.endpoint
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await until(lambda: child.pid not in (None, before))
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await store.head(_KEY)
                    break
                except Exception:  # noqa: BLE001 - it is still starting
                    await asyncio.sleep(0.05)
        assert found is not None
        assert found.size == 4
        assert child.endpoint == endpoint


async def test_only_signed_requests_to_the_s3_port_see_an_object(tmp_path: Path) -> None:
    """Nothing listens beyond this machine, and no inner port serves the object without a token."""
    secret = b"a recording of somebody's hands" * 10
    async with started(tmp_path) as (child, store):
        await put(store, secret)
        for port in json.loads((tmp_path / "s3" / "ports.json").read_text()).values():
            await until_it_listens(port)
        listening = [
            one.laddr for one in psutil.Process(child.pid).net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]  # fmt: skip
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert len(listening) >= 10
        ports = {address.port for address in listening}
        paths = [f"/buckets/bucket/{_KEY}", f"/bucket/{_KEY}", "/buckets/bucket/?limit=10"]
        paths += [f"/{volume},{needle:02x}00000000" for volume in range(1, 9) for needle in (1, 2)]
        refused = 0
        async with aiohttp.ClientSession() as http:
            for port in ports:
                for path in paths:
                    try:
                        async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                            body = await answer.read()
                    except aiohttp.ClientError:
                        continue  # gRPC
                    assert secret[:31] not in body
                    assert b"recording.mp4" not in body or answer.status in (401, 403, 404)
                    refused += answer.status in (401, 403, 404)
                async with asyncio.timeout(10):
                    try:
                        async with http.put(
                            f"http://127.0.0.1:{port}/buckets/bucket/new", data=b"x"
                        ) as answer:
                            assert answer.status >= 400, (port, answer.status)
                    except aiohttp.ClientError:
                        continue
        assert refused > len(paths)
        found = await store.head(_KEY)
        assert found is not None


async def test_no_inner_port_hands_out_a_token(tmp_path: Path) -> None:
    """SeaweedFS's master signs tokens for whoever asks it over HTTP."""
    paths = ("/dir/assign", "/dir/lookup?fileId=1,01000000ab&read=yes", "/dir/lookup?volumeId=1")
    async with started(tmp_path) as (child, store), aiohttp.ClientSession() as http:
        await put(store, b"kept")
        names = json.loads((tmp_path / "s3" / "ports.json").read_text())
        for name in ("s3", "master", "volume", "filer", "admin"):
            await until_it_listens(names[name])
            for path in paths:
                async with http.get(f"http://127.0.0.1:{names[name]}{path}") as answer:
                    assert "Authorization" not in answer.headers, (name, path)
                    assert answer.status in (401, 403, 404), (name, path)
        inner = {
            one.laddr.port for one in psutil.Process(child.pid).net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }  # fmt: skip
        for port in inner - set(names.values()):
            for path in paths:
                with contextlib.suppress(aiohttp.ClientError):  # gRPC
                    async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                        assert "Authorization" not in answer.headers, (port, path)
                        assert answer.status in (401, 403, 404), (port, path)


async def test_its_secrets_are_its_owners(tmp_path: Path) -> None:
    async with started(tmp_path) as (child, _):
        for name in ("credentials.json", "identities.json", "security.toml", "ports.json"):
            assert stat.S_IMODE((tmp_path / "s3" / name).stat().st_mode) == 0o600, name
        assert stat.S_IMODE((tmp_path / "s3").stat().st_mode) == 0o700
        command = " ".join(psutil.Process(child.pid).cmdline())
        assert "-master.telemetry=false" in command
        assert child.credentials.secret_key not in command
        assert psutil.Process(child.pid).environ()["GOMEMLIMIT"] == "512MiB"


async def test_ports_in_use_are_not_a_reason_not_to_start(tmp_path: Path) -> None:
    async with started(tmp_path) as (child, store):
        await put(store, b"kept")
        port = int(child.endpoint.rpartition(":")[2])
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with taken, started(tmp_path) as (child, store):
        assert not child.endpoint.endswith(f":{port}")
        found = await store.head(_KEY)
        assert found is not None


async def test_a_port_that_is_taken_at_the_last_moment_is_not_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(tmp_path):
        names = json.loads((tmp_path / "s3" / "ports.json").read_text())
    looks = iter([True] * len(names))  # the first look at each came too early
    real = embedded._is_free
    monkeypatch.setattr(embedded, "_is_free", lambda port: next(looks, False) or real(port))
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", names["filer"])
    async with taken, started(tmp_path) as (_, store):
        await put(store, b"kept")
        now = json.loads((tmp_path / "s3" / "ports.json").read_text())
        assert names["filer"] not in now.values()


async def test_a_data_directory_has_one_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "_LOCK_WAIT_S", 0.2)
    async with started(tmp_path):
        with pytest.raises(DataDirInUseError, match="in use by another server"):
            await EmbeddedS3(tmp_path).start()


async def test_a_store_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "absent"))
    with pytest.raises(EmbeddedS3Error, match=r"(?s)ended at once.*No such file"):
        await EmbeddedS3(tmp_path).start()


async def test_a_killed_server_leaves_no_orphan_and_its_directory_free(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    async with started(tmp_path):
        assert gone(pid)
    await parent.communicate()


async def test_a_bucket_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    async with started(tmp_path) as (child, _):
        wrong = Credentials(child.credentials.access_key, "wrong" * 8)
        for bucket, credentials, reason in (
            ("missing-bucket", child.credentials, "does not exist; create it"),
            ("bucket", wrong, "the credentials need what docs/storage.md lists"),
        ):
            store = ObjectStore(bucket, embedded.REGION, child.endpoint, credentials)
            await store.open()
            with pytest.raises(BucketError, match=reason) as error:
                await store.check()
            assert "\n" not in str(error.value)
            await store.close()
    away = ObjectStore("bucket", "us-east-1", "http://127.0.0.1:1", child.credentials)
    await away.open()
    with pytest.raises(BucketError, match="cannot be reached"):
        await away.check()
    await away.close()
