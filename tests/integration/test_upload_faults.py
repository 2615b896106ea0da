"""What goes wrong in a lab: killed servers and stores, expired URLs, full disks. Nothing is lost."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support import TOKENS, Server, headset, new_id, tablet
from uploading import bucket

from quest_backend.client import FileType, UploadClient, UploadError
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.storage.embedded import EmbeddedS3

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
STAMP = "20260206_143052"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may harm."""
    server = Server(tmp_path / "server")
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()


def store_of(server: Server) -> psutil.Process:
    """The server's object store."""
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "weed" in child.name())


def quest(server: Server, device_id: str, **options: Any) -> UploadClient:
    token = TOKENS.issue(device_id, DeviceType.HEADSET)
    return UploadClient(server.url, token=token, **options)


def recording(folder: Path, size: int) -> Path:
    path = folder / "recording.mp4"
    path.write_bytes(os.urandom(size))
    return path


def journal_of(path: Path) -> list[Path]:
    return list(path.parent.glob("*journal*"))


async def interrupted(server: Server, device_id: str, path: Path) -> None:
    """An upload that ends after its first part, as that of a killed process: nothing is tidied."""

    async def work() -> None:
        async with quest(server, device_id, connections=1) as client:
            await client.upload(
                path, timestamp=STAMP, file_type=FileType.VIDEO, progress=Once(stop)
            )

    def stop() -> None:
        task.cancel()

    task = asyncio.get_running_loop().create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


class Once:
    """Calls ``what`` when the first bytes are there, or ``at`` so many."""

    def __init__(self, what: Callable[[], None], at: int = 1) -> None:
        self._what: Callable[[], None] | None = what
        self._at = at

    def __call__(self, done: int, _: int) -> None:
        if done >= self._at and self._what is not None:
            what, self._what = self._what, None
            what()


async def test_a_server_killed_between_parts_loses_nothing(own: Server, tmp_path: Path) -> None:
    """The same call waits until it is back, and sends only what is missing."""
    path = recording(tmp_path, 35 * MIB)

    def restart() -> None:
        own.kill()
        own.spawn()

    async with quest(own, new_id("headset"), connections=1) as client:
        done = await client.upload(
            path, timestamp=STAMP, file_type=FileType.VIDEO, progress=Once(restart)
        )
    async with bucket(own.data_dir) as store:
        found = await store.head(done.key)
    assert found is not None
    assert found.size == 35 * MIB
    assert found.etag == done.etag == whole_etag(path)


def whole_etag(path: Path, chunk: int = 10 * MIB) -> str:
    """What S3 makes of parts: the MD5 of their MD5s."""
    from hashlib import md5

    content = path.read_bytes()
    sums = [md5(content[i : i + chunk]).digest() for i in range(0, len(content), chunk)]
    return f"{md5(b''.join(sums)).hexdigest()}-{len(sums)}"


async def test_a_store_killed_in_the_middle_comes_back_and_the_upload_goes_on(
    own: Server, tmp_path: Path
) -> None:
    path = recording(tmp_path, 35 * MIB)
    async with quest(own, new_id("headset"), connections=2) as client:
        done = await client.upload(
            path,
            timestamp=STAMP,
            file_type=FileType.VIDEO,
            progress=Once(lambda: store_of(own).send_signal(signal.SIGKILL)),
        )
    assert done.etag == whole_etag(path)
    async with own.http() as http:
        assert (await http.get("/health")).status_code == 200


async def test_a_store_killed_between_the_last_part_and_complete_loses_no_part(
    own: Server, tmp_path: Path
) -> None:
    """What it has answered for is there again; complete is asked for until it succeeds."""
    path = recording(tmp_path, 25 * MIB)
    kill = Once(lambda: store_of(own).send_signal(signal.SIGKILL), at=25 * MIB)
    async with quest(own, new_id("headset")) as client:
        done = await client.upload(path, timestamp=STAMP, file_type=FileType.VIDEO, progress=kill)
    assert done.etag == whole_etag(path)
    assert done.resumed_parts == 0
    async with bucket(own.data_dir) as store:
        found = await store.head(done.key)
    assert found is not None
    assert found.size == 25 * MIB


async def test_a_killed_client_goes_on_where_it_was(own: Server, tmp_path: Path) -> None:
    """A process that is killed half-way; the next one sends only the rest."""
    path = recording(tmp_path, 45 * MIB)
    device_id = new_id("headset")
    reports = []
    await interrupted(own, device_id, path)
    async with quest(own, device_id) as client:
        done = await client.upload(
            path,
            timestamp=STAMP,
            file_type=FileType.VIDEO,
            progress=lambda sent, _: reports.append(sent),
        )
    assert done.resumed_parts >= 1
    assert reports[0] >= 10 * MIB
    assert reports[-1] == 45 * MIB
    assert done.etag == whole_etag(path)
    assert not journal_of(path)


async def test_a_file_that_changed_since_is_sent_anew(own: Server, tmp_path: Path) -> None:
    path = recording(tmp_path, 25 * MIB)
    device_id = new_id("headset")
    await interrupted(own, device_id, path)
    path = recording(tmp_path, 25 * MIB)
    async with quest(own, device_id) as client:
        done = await client.upload(path, timestamp=STAMP, file_type=FileType.VIDEO)
    assert done.resumed_parts == 0
    assert done.etag == whole_etag(path)


async def test_expired_urls_are_refused_and_renewed(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", PRESIGNED_URL_EXPIRY_SECONDS="2").start()
    path = recording(tmp_path, 25 * MIB)
    try:
        async with quest(server, new_id("headset"), connections=1) as client:
            done = await client.upload(
                path,
                timestamp=STAMP,
                file_type=FileType.VIDEO,
                # The later parts' URLs have expired by the time they are sent.
                progress=Once(lambda: time.sleep(3.1)),
            )
        assert done.etag == whole_etag(path)
        async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
            body = {"timestamp": "20260207_000000", "fileType": "data", "fileSize": 1}
            started = (await http.post("/chunked-upload/start", json=body)).json()
            url = started["presignedUrls"][0]["url"]
            async with httpx.AsyncClient() as plain:
                deadline = time.monotonic() + 10
                while True:
                    reply = await plain.put(url, content=b"x")
                    if reply.status_code == 403 or time.monotonic() > deadline:
                        break
                    await asyncio.sleep(0.1)
        assert reply.status_code == 403
        assert "expired" in reply.json()["error"]
    finally:
        server.stop()


async def test_a_restarted_valkey_that_forgot_everything_overwrites_nothing(
    tmp_path: Path,
) -> None:
    """Whose folder it is, is also written on the objects."""
    first, second = new_id("headset"), new_id("headset")
    data_dir = tmp_path / "server"
    path = recording(tmp_path, 1000)
    server = Server(data_dir).start()
    async with quest(server, first) as client:
        done = await client.upload(path, timestamp=STAMP, file_type=FileType.VIDEO)
    server.stop()
    for file in (data_dir / "valkey").rglob("*.aof*"):
        file.unlink()
    server = Server(data_dir).start()
    try:
        async with quest(server, second) as client:
            other = await client.upload(path, timestamp=STAMP, file_type=FileType.VIDEO)
        async with quest(server, first) as client:
            data = await client.upload(path, timestamp=STAMP, file_type=FileType.DATA)
    finally:
        server.stop()
    assert done.key == f"sessions/{STAMP}/recording.mp4"
    assert other.key == "sessions/20260206_143053/recording.mp4"
    assert data.key == f"sessions/{STAMP}/session_data.npz"


async def test_uploads_left_unfinished_are_aborted(tmp_path: Path) -> None:
    server = Server(
        tmp_path / "server", UPLOAD_EXPIRY_HOURS="0.0005", SESSION_CLEANUP_INTERVAL_MS="200"
    ).start()
    try:
        async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
            body = {"timestamp": STAMP, "fileType": "video", "fileSize": 10}
            started = (await http.post("/chunked-upload/start", json=body)).json()
            names = {"uploadId": started["uploadId"], "s3Key": started["s3Key"]}
            async with bucket(server.data_dir) as store:
                left = await store.begin("sessions/20260101_000000/recording.mp4", "video/mp4", {})
                async with asyncio.timeout(20):
                    while [one async for one in store.unfinished("sessions/")]:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
            assert left
            status = await http.get("/chunked-upload/status", params=names)
            assert status.status_code == 404
    finally:
        server.stop()


async def test_an_outside_store_is_used_directly_and_none_is_started(
    own: Server, tmp_path: Path
) -> None:
    """With S3_ENDPOINT_URL: no child, URLs of that store, progress all the same."""
    credentials, endpoint = EmbeddedS3(own.data_dir).known()
    outside = Server(
        tmp_path / "outside",
        S3_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID=credentials.access_key,
        AWS_SECRET_ACCESS_KEY=credentials.secret_key,
    ).start()
    try:
        assert outside.process is not None
        children = psutil.Process(outside.process.pid).children(recursive=True)
        assert not [child for child in children if "weed" in child.name()]
        assert not (outside.data_dir / "s3").exists()
        async with (
            headset(outside) as device,
            tablet(outside) as operator,
            outside.http(device.identity, DeviceType.HEADSET) as http,
        ):
            await operator.ask(
                catalogue.TABLET_CREATE_SESSION,
                catalogue.ON_SESSION_CREATED,
                {"deviceIds": [device.identity]},
            )
            body = {"timestamp": STAMP, "fileType": "video", "fileSize": 20 * MIB}
            started = (await http.post("/chunked-upload/start", json=body)).json()
            first, _ = started["presignedUrls"]
            assert first["url"].startswith(f"{endpoint}/")
            async with httpx.AsyncClient(timeout=30) as plain:
                assert (await plain.put(first["url"], content=bytes(10 * MIB))).status_code == 200
                unseen = first["url"].replace(endpoint, outside.url)
                assert (await plain.put(unseen, content=bytes(10 * MIB))).status_code in (
                    404,
                    405,
                    413,
                )
            await operator.gets(
                catalogue.ON_UPLOAD_PROGRESS, lambda part: part["uploadProgress"] == 50, 15
            )
    finally:
        outside.stop()


async def test_a_missing_bucket_stops_the_start_with_one_line(own: Server, tmp_path: Path) -> None:
    credentials, endpoint = EmbeddedS3(own.data_dir).known()
    server = Server(
        tmp_path / "outside",
        S3_ENDPOINT_URL=endpoint,
        S3_BUCKET_NAME="no-such-bucket",
        AWS_ACCESS_KEY_ID=credentials.access_key,
        AWS_SECRET_ACCESS_KEY=credentials.secret_key,
    )
    assert await asyncio.to_thread(server.spawn().wait, 30) == 3
    text = server.log.read_text()
    assert "bucket 'no-such-bucket'" in text
    assert "does not exist; create it, or set S3_BUCKET_NAME" in text
    assert "Traceback" not in text


async def test_a_store_that_is_away_is_a_clear_503(own: Server) -> None:
    async with own.http(new_id("headset"), DeviceType.HEADSET) as http:
        store_of(own).send_signal(signal.SIGSTOP)
        try:
            health = await http.get("/health")
            assert health.status_code == 503
            assert health.json()["dependencies"]["s3"]["ok"] is False
            assert health.json()["dependencies"]["valkey"]["ok"] is True
        finally:
            store_of(own).send_signal(signal.SIGCONT)
        assert (await http.get("/api/devices")).status_code == 200


def mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def unmount(path: Path) -> None:
    subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_full_disk_is_a_clear_error_and_loses_no_finished_recording(
    tmp_path: Path,
) -> None:
    data = tmp_path / "server" / "s3" / "data"
    data.mkdir(parents=True, mode=0o700)
    if mount("-t", "tmpfs", "-o", "size=96m", "tmpfs", str(data)):
        pytest.skip("may NOT mount a tmpfs here: a full disk is NOT tested")
    server = Server(tmp_path / "server")
    try:
        server.start()
        device_id = new_id("headset")
        small = recording(tmp_path, 20 * MIB)
        kept = whole_etag(small)
        async with quest(server, device_id) as client:
            done = await client.upload(small, timestamp=STAMP, file_type=FileType.VIDEO)
        large = recording(tmp_path, 120 * MIB)
        async with quest(server, device_id, patience_s=4) as client:
            with pytest.raises(UploadError) as error:
                await client.upload(large, timestamp="20260206_150000", file_type=FileType.VIDEO)
        assert "The object store is full" in str(error.value)
        form = {"timestamp": "20260206_160000"}
        files = {"video": ("v.mp4", large.read_bytes()), "data": ("d.npz", b"npz")}
        async with server.http(device_id, DeviceType.HEADSET) as http:
            refused = await http.post("/upload-session", data=form, files=files, timeout=60)
        assert refused.status_code == 507, refused.text
        assert "The object store is full" in refused.json()["error"]
        server.stop()
        server.start()
        async with bucket(server.data_dir) as store:
            found = await store.head(done.key)
            assert await store.keys_from("sessions/", "") == [done.key], "no half session"
        assert found is not None
        assert found.etag == kept
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
        unmount(data)


async def test_the_command_uploads_and_resumes(own: Server, tmp_path: Path) -> None:
    folder = tmp_path / STAMP
    folder.mkdir()
    path = recording(folder, 12 * MIB)
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quest_backend", "upload", str(path), "--url", own.url,
        "--api-key", "test-admin-key",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert f"sessions/{STAMP}/recording.mp4" in out.decode()
    assert whole_etag(path) in out.decode()
    refused = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quest_backend", "upload", str(path), "--url", own.url,
        "--api-key", "wrong",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await refused.communicate()
    assert refused.returncode == 1
    assert "Wrong X-API-Key" in err.decode()
    assert json.dumps("Traceback") not in err.decode()
