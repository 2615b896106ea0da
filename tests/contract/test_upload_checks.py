"""What is checked before a recording is one: sizes, checksums, and whose object it is."""

import base64
import hashlib
import os
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
from support import Server, new_id
from uploading import bucket, new_time, stored

from quest_backend.protocol.events import DeviceType
from quest_backend.state import keys
from quest_backend.state.embedded import EmbeddedValkey

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


def sha256(body: bytes) -> dict[str, str]:
    value = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"algorithm": "SHA256", "value": value}


def crc64nvme(body: bytes) -> dict[str, str]:
    """Bit by bit, as its definition has it (polynomial 0xAD93D23594C93659, reflected)."""
    register = 2**64 - 1
    for byte in body:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x9A6C9329AC4BC9B5 if register & 1 else 0)
    value = base64.b64encode((register ^ 2**64 - 1).to_bytes(8, "big")).decode()
    return {"algorithm": "CRC64NVME", "value": value}


async def begun(http: httpx.AsyncClient, size: int) -> dict[str, Any]:
    body = {"timestamp": new_time(), "fileType": "video", "fileSize": size}
    answer = await http.post("/chunked-upload/start", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def complete(
    http: httpx.AsyncClient, upload: dict[str, Any], parts: list[dict[str, Any]], **more: Any
) -> httpx.Response:
    names = {"uploadId": upload["uploadId"], "s3Key": upload["s3Key"]}
    return await http.post("/chunked-upload/complete", json={**names, "parts": parts, **more})


async def send(upload: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    parts = []
    async with httpx.AsyncClient(timeout=30) as plain:
        for target in upload["presignedUrls"]:
            number, chunk = target["partNumber"], upload["chunkSize"]
            body = content[(number - 1) * chunk : number * chunk]
            answer = await plain.put(target["url"], content=body)
            assert answer.status_code == 200, answer.text
            parts.append(
                {"partNumber": number, "etag": answer.headers["ETag"], "checksum": sha256(body)}
            )
    return parts


async def send_summed(upload: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    """As ``send``; each part with the checksum that the store answered with."""
    parts = []
    async with httpx.AsyncClient(timeout=30) as plain:
        for target in upload["presignedUrls"]:
            number, chunk = target["partNumber"], upload["chunkSize"]
            body = content[(number - 1) * chunk : number * chunk]
            headers = {"Origin": "https://lab.example"}
            answer = await plain.put(target["url"], content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            exposed = answer.headers["Access-Control-Expose-Headers"].lower()
            assert "x-amz-checksum-crc64nvme" in exposed
            value = answer.headers["x-amz-checksum-crc64nvme"]
            checksum = {"algorithm": "CRC64NVME", "value": value}
            parts.append(
                {"partNumber": number, "etag": answer.headers["ETag"], "checksum": checksum}
            )
    return parts


async def remembered(server: Server, upload: dict[str, Any]) -> dict[str, str]:
    """What is kept of the recording's folder."""
    folder = upload["s3Key"].split("/")[1]
    client = redis.Redis.from_url(EmbeddedValkey(server.data_dir).url, decode_responses=True)
    async with client:
        found = await client.hgetall(keys.upload_folder(folder))
    return {str(name): str(value) for name, value in found.items()}


async def test_size_etag_and_checksum_are_kept_with_the_recording(server: Server) -> None:
    content = os.urandom(12 * MIB)
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = await send(upload, content)
        done = await complete(http, upload, parts, checksum=sha256(content))
    assert done.status_code == 200, done.text
    kept = await remembered(server, upload)
    assert kept["videoSize"] == str(len(content))
    assert kept["videoEtag"] == done.json()["etag"]
    assert kept["videoChecksum"] == f"SHA256:{sha256(content)['value']}"


@pytest.mark.parametrize(
    "checksum",
    [{"algorithm": "SHA256", "value": "AAAA"}, {"algorithm": "SHA256", "value": "not base64"},
     {"algorithm": "MD5", "value": "AAAA"}, {"algorithm": "CRC64NVME"}, "SHA256"],
)  # fmt: skip
async def test_what_is_no_checksum_is_refused_and_nothing_is_lost(
    server: Server, checksum: Any
) -> None:
    content = b"0123456789"
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = await send(upload, content)
        refused = await complete(http, upload, parts, checksum=checksum)
        assert refused.status_code in (400, 422)
        assert "checksum" in refused.json()["error"]
        wrong = [{**parts[0], "checksum": checksum}]
        assert (await complete(http, upload, wrong)).status_code in (400, 422)
        assert await stored(server, upload["s3Key"]) is None
        assert (await complete(http, upload, parts)).status_code == 200
    assert await stored(server, upload["s3Key"]) == content


async def test_a_wrong_checksum_of_the_file_is_refused_and_nothing_is_lost(
    server: Server,
) -> None:
    """The embedded store adds up CRC64NVME, and compares before there is an object."""
    assert (
        crc64nvme(b"123456789")["value"]
        == base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()
    ), "the check value of the algorithm's catalogue entry"
    content = os.urandom(999)
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = await send(upload, content)
        refused = await complete(http, upload, parts, checksum=crc64nvme(content + b"?"))
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"].startswith("checksum: ")
        assert await stored(server, upload["s3Key"]) is None
        done = await complete(http, upload, parts, checksum=crc64nvme(content))
        assert done.status_code == 200, done.text
    assert await stored(server, upload["s3Key"]) == content
    kept = await remembered(server, upload)
    assert kept["videoChecksum"] == f"CRC64NVME:{crc64nvme(content)['value']}"


async def test_a_wrong_checksum_of_a_part_is_refused_and_nothing_is_lost(server: Server) -> None:
    content = os.urandom(12 * MIB)
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = await send_summed(upload, content)
        swapped = [
            {**parts[0], "checksum": parts[1]["checksum"]},
            {**parts[1], "checksum": parts[0]["checksum"]},
        ]
        refused = await complete(http, upload, swapped)
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"].startswith("checksum: ")
        assert await stored(server, upload["s3Key"]) is None
        assert (await complete(http, upload, parts)).status_code == 200
    assert await stored(server, upload["s3Key"]) == content


async def test_a_recording_whose_client_adds_up_nothing_has_the_stores_checksum(
    server: Server,
) -> None:
    content = os.urandom(500)
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = [{**part, "checksum": None} for part in await send(upload, content)]
        assert (await complete(http, upload, parts)).status_code == 200
    kept = await remembered(server, upload)
    assert kept["videoChecksum"] == f"CRC64NVME:{crc64nvme(content)['value']}"


async def test_a_recording_of_another_size_is_refused(server: Server) -> None:
    """Parts that went straight to the store are measured there."""
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, 100)
        async with bucket(server.data_dir) as store:
            part = await store.put_part(upload["s3Key"], upload["uploadId"], 1, b"x" * 99)
        refused = await complete(http, upload, [{"partNumber": 1, "etag": part.etag}])
        assert refused.status_code == 400
        assert refused.json()["wrongParts"] == [1]
        assert "99 bytes, not 100" in refused.json()["error"]
        assert await stored(server, upload["s3Key"]) is None
        parts = await send(upload, b"y" * 100)
        assert (await complete(http, upload, parts)).status_code == 200
    assert await stored(server, upload["s3Key"]) == b"y" * 100


async def test_a_complete_that_the_server_did_not_live_to_answer_is_success(server: Server) -> None:
    """The store has made the object, and nobody has noted it."""
    content = b"0123456789"
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, len(content))
        parts = await send(upload, content)
        async with bucket(server.data_dir) as store:
            there = await store.parts(upload["s3Key"], upload["uploadId"])
            etag = await store.complete(upload["s3Key"], upload["uploadId"], there)
        done = await complete(http, upload, parts)
        assert done.status_code == 200, done.text
        assert done.json()["etag"] == etag
        assert (await complete(http, upload, parts)).json() == done.json()
    assert await stored(server, upload["s3Key"]) == content
    assert (await remembered(server, upload))["videoEtag"] == etag


async def test_an_object_of_somebody_else_is_not_taken_for_ones_own(server: Server) -> None:
    """The upload is gone, and what lies at its key was made by another one."""
    async with server.http(new_id("headset"), DeviceType.HEADSET) as http:
        upload = await begun(http, 10)
        parts = await send(upload, b"0123456789")
        async with bucket(server.data_dir) as store:
            await store.abort(upload["s3Key"], upload["uploadId"])
            other = await store.begin(upload["s3Key"], "video/mp4", {"quest-device": "OTHER_001"})
            part = await store.put_part(upload["s3Key"], other, 1, b"abcdefghij")
            await store.complete(upload["s3Key"], other, [part])
        refused = await complete(http, upload, parts)
        assert refused.status_code == 404
    assert await stored(server, upload["s3Key"]) == b"abcdefghij"
