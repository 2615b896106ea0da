"""Uploads in parts: start, status, presign-part, complete, abort."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, Strict, field_validator

from quest_backend.api import access
from quest_backend.api.access import Caller
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import MAX_FILE_NAME_CHARS, SESSION_ID_PATTERN
from quest_backend.protocol.recordings import FileType, folder_of, parse_key
from quest_backend.storage.checks import Algorithm, Checksum, GivenPart
from quest_backend.storage.upload_types import Owner, Started

router = APIRouter(prefix="/chunked-upload", tags=["uploads"])

_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[a-zA-Z0-9._-]{1,253})(:\d{1,5})?", re.ASCII)
_MAX_PARTS = 10_000
# Half a millisecond of signing.
_SIGNED_AT_ONCE = 100

_uploader = access.only(DeviceType.HEADSET, DeviceType.TABLET)
Uploader = Annotated[Caller, Depends(_uploader)]
UploadId = Annotated[str, Field(min_length=1, max_length=1024)]
S3Key = Annotated[str, Field(max_length=64, examples=["sessions/20260206_143052/recording.mp4"])]


class StartRequest(BaseModel):
    """Schema StartChunkedUploadRequest; ``sessionId`` where the client knows it."""

    timestamp: Annotated[
        str, Field(max_length=64, description="YYYYMMDD_HHMMSS, Unix milliseconds or ISO 8601")
    ]
    fileType: FileType
    fileSize: Annotated[int, Strict(), Field(description="exact bytes")]
    fileName: Annotated[str | None, Field(max_length=MAX_FILE_NAME_CHARS)] = None
    sessionId: Annotated[str | None, Field(pattern=SESSION_ID_PATTERN)] = None

    @field_validator("timestamp", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("timestamp")
    @classmethod
    def _folder(cls, value: str) -> str:
        return folder_of(value)


class UploadRef(BaseModel):
    """Names one upload."""

    uploadId: UploadId
    s3Key: S3Key

    @field_validator("s3Key")
    @classmethod
    def _allowed(cls, value: str) -> str:
        parse_key(value)
        return value


class PresignRequest(UploadRef):
    """Which part."""

    partNumber: Annotated[int, Strict(), Field(ge=1, le=_MAX_PARTS)]


class ChecksumGiven(BaseModel):
    """A checksum as S3's headers have it."""

    algorithm: Algorithm
    value: Annotated[str, Field(max_length=64, description="base64")]

    @field_validator("value")
    @classmethod
    def _base64(cls, value: str) -> str:
        return value.strip()

    def read(self) -> Checksum:
        """As storage has it.

        Raises:
            ApiError: not a checksum of that algorithm.
        """
        try:
            return Checksum(self.algorithm, self.value)
        except ValueError as error:
            raise ApiError(400, f"checksum: {error}") from None


class PartGiven(BaseModel):
    """One uploaded part."""

    partNumber: Annotated[int, Strict(), Field(ge=1, le=_MAX_PARTS)]
    etag: Annotated[str, Field(min_length=1, max_length=128)]
    checksum: ChecksumGiven | None = None


class CompleteRequest(UploadRef):
    """Schema CompleteChunkedUploadRequest; parts in any order."""

    parts: Annotated[list[PartGiven], Field(min_length=1, max_length=2 * _MAX_PARTS)]
    checksum: ChecksumGiven | None = None


def owner_of(caller: Caller) -> Owner:
    """Whose uploads these are. No token can name ``admin``: ids of tokens are longer."""
    who = caller.identity
    if who is None:
        return Owner("admin", may_all=True)
    return Owner(who.device_id, may_all=who.device_type is DeviceType.TABLET)


def endpoint_of(request: Request) -> str:
    """Where this client reaches the object store.

    Raises:
        ApiError: its Host header names no host.
    """
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise ApiError(400, "The Host header names no host")
    return context_of(request).storage.endpoint_for(f"{request.url.scheme}://{host}")


@router.post("/start")
async def start(request: Request, wanted: StartRequest, caller: Uploader) -> Response:
    """Begin an upload; a repeat goes on with the same one."""
    started = await context_of(request).storage.uploads.start(
        owner_of(caller),
        wanted.timestamp,
        wanted.fileType,
        wanted.fileSize,
        endpoint_of(request),
        wanted.sessionId or "",
    )
    record = started.record
    head = {
        "ok": True,
        "uploadId": record.upload_id,
        "s3Key": record.key,
        "totalParts": record.plan.parts,
        "chunkSize": record.plan.chunk_bytes,
    }
    return StreamingResponse(answer_with_urls(head, started), media_type="application/json")


async def answer_with_urls(head: dict[str, Any], started: Started) -> AsyncIterator[bytes]:
    """The answer as it is signed: 10,000 URLs are 5 MB, and nobody else waits for them."""
    yield orjson.dumps(head)[:-1] + b',"presignedUrls":['
    parts = started.record.plan.parts
    for first in range(1, parts + 1, _SIGNED_AT_ONCE):
        numbers = range(first, min(first + _SIGNED_AT_ONCE, parts + 1))
        rows = [{"partNumber": number, "url": started.url_of(number)} for number in numbers]
        comma = b"," if first > 1 else b""
        yield comma + orjson.dumps(rows)[1:-1]
        await asyncio.sleep(0)
    yield b"]}"


@router.get("/status")
async def status(
    request: Request,
    caller: Uploader,
    uploadId: Annotated[str, Query(min_length=1, max_length=1024)],  # noqa: N803 - the wire's name
    s3Key: Annotated[str, Query(max_length=64)],  # noqa: N803 - the wire's name
) -> Response:
    """The parts that the store has."""
    _key(s3Key)
    parts = await context_of(request).storage.uploads.status(owner_of(caller), uploadId, s3Key)
    return json_response(
        {
            "ok": True,
            "uploadId": uploadId,
            "s3Key": s3Key,
            "uploadedParts": [
                {"partNumber": part.number, "etag": part.etag, "size": part.size} for part in parts
            ],
        }
    )


@router.post("/presign-part")
async def presign_part(request: Request, wanted: PresignRequest, caller: Uploader) -> Response:
    """A fresh URL for one part."""
    url = await context_of(request).storage.uploads.part_url(
        owner_of(caller), wanted.uploadId, wanted.s3Key, wanted.partNumber, endpoint_of(request)
    )
    return json_response({"ok": True, "partNumber": wanted.partNumber, "url": url})


@router.post("/complete")
async def complete(request: Request, given: CompleteRequest, caller: Uploader) -> Response:
    """Make the recording file of its parts; a repeat is success again."""
    done = await context_of(request).storage.uploads.complete(
        owner_of(caller),
        given.uploadId,
        given.s3Key,
        [
            GivenPart(
                part.partNumber, part.etag, part.checksum.read() if part.checksum else None
            )
            for part in given.parts
        ],
        given.checksum.read() if given.checksum else None,
    )  # fmt: skip
    return json_response(
        {
            "ok": True,
            "s3Key": done.record.key,
            "bucket": done.bucket,
            "location": f"{endpoint_of(request)}/{done.bucket}/{done.record.key}",
            "etag": done.record.etag,
        }
    )


@router.post("/abort")
async def abort(request: Request, given: UploadRef, caller: Uploader) -> dict[str, Any]:
    """Throw an unfinished upload away."""
    uploads = context_of(request).storage.uploads
    await uploads.abort(owner_of(caller), given.uploadId, given.s3Key)
    return {"ok": True, "message": "Upload aborted successfully"}


def _key(key: str) -> None:
    try:
        parse_key(key)
    except ValueError as error:
        raise ApiError(400, f"s3Key: {error}") from None
