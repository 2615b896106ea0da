"""``/upload-session`` of older apps: both files in one multipart form, streamed, never held."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from quest_backend.api import access
from quest_backend.api.context import context_of
from quest_backend.api.errors import ApiError
from quest_backend.api.json import json_response
from quest_backend.api.uploads import Uploader, endpoint_of, owner_of
from quest_backend.protocol.recordings import FileType, folder_of
from quest_backend.state.valkey import StoreUnavailable
from quest_backend.storage.pairs import PairUpload
from quest_backend.storage.refusals import UploadRefused
from quest_backend.storage.s3 import ObjectStoreUnavailable
from quest_backend.storage.upload_types import Completed, Owner
from quest_backend.storage.uploads import Uploads

log = structlog.get_logger()

router = APIRouter(tags=["uploads"])

PATH = "/upload-session"
_MAX_FIELD_BYTES = 1024
_MAX_HEADER_BYTES = 4096
_MAX_PARTS = 10
_FILES = {b"video": FileType.VIDEO, b"data": FileType.DATA}


@dataclass(slots=True)
class _Event:
    """``begin`` with the field's name, ``data``, or ``end``."""

    kind: str
    value: bytes = b""


class _Form:
    """A form's events as its bytes come."""

    def __init__(self, boundary: bytes) -> None:
        self.events: list[_Event] = []
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
            },
        )

    def feed(self, data: bytes) -> list[_Event]:
        """What these bytes bring."""
        self.events = []
        self._parser.write(data)
        return self.events

    def close(self) -> None:
        """Raises FormParserError when the form is torn."""
        self._parser.finalize()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._bound(self._header)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound(self._value)

    @staticmethod
    def _bound(text: bytes) -> None:
        if len(text) > _MAX_HEADER_BYTES:
            raise FormParserError("a header is too long")

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self.events.append(_Event("begin", options.get(b"name", b"")))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(_Event("data", data[start:end]))

    def _on_part_end(self) -> None:
        self.events.append(_Event("end"))


class _Reader:
    """Follows the events: fields first, then the files."""

    def __init__(self, uploads: Uploads, owner: Owner) -> None:
        self._uploads = uploads
        self._owner = owner
        self._fields: dict[bytes, bytes] = {}
        self._name = b""
        self._count = 0
        self.pair: PairUpload | None = None

    async def take(self, event: _Event) -> None:
        if event.kind == "begin":
            await self._begin(event.value)
        elif self._name in _FILES:
            assert self.pair is not None  # noqa: S101 - made when the file began
            if event.kind == "data":
                await self.pair.write(_FILES[self._name], event.value)
            else:
                await self.pair.end(_FILES[self._name])
        elif event.kind == "data":
            value = self._fields.get(self._name, b"") + event.value
            if len(value) > _MAX_FIELD_BYTES:
                raise ApiError(400, f"a field is longer than {_MAX_FIELD_BYTES} bytes")
            self._fields[self._name] = value

    async def _begin(self, name: bytes) -> None:
        self._name = name
        self._count += 1
        if self._count > _MAX_PARTS:
            raise ApiError(400, f"more than {_MAX_PARTS} fields")
        if name not in _FILES:
            return
        if self.pair is None:
            self.pair = PairUpload(
                self._uploads, self._owner, self.timestamp(), self.text(b"sessionId")
            )
        await self.pair.begin(_FILES[name])

    def text(self, name: bytes) -> str:
        return self._fields.get(name, b"").decode(errors="replace").strip()

    def timestamp(self) -> str:
        if b"timestamp" not in self._fields:
            raise ApiError(400, "timestamp: missing; send it before the files")
        try:
            return folder_of(self.text(b"timestamp"))
        except ValueError as error:
            raise ApiError(400, f"timestamp: {error}") from None


@router.post(PATH, dependencies=[Depends(access.limited("upload-session", 10, 15 * 60))])
async def upload_session(request: Request, caller: Uploader) -> Response:
    """Form fields ``timestamp``, ``sessionId`` (optional), then files ``video`` and ``data``."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise ApiError(400, "Send multipart/form-data")
    reader = _Reader(context_of(request).storage.uploads, owner_of(caller))
    try:
        async for event in _events(request, boundary):
            await reader.take(event)
        if reader.pair is None:
            reader.timestamp()
            raise ApiError(400, "video: missing; send both files")
        done = await reader.pair.finish()
    except BaseException:
        if reader.pair is not None:
            await _drop(reader.pair)
        raise
    video, data = done[FileType.VIDEO], done[FileType.DATA]
    folder = video.record.folder
    return json_response(
        {
            "ok": True,
            "sessionId": reader.text(b"sessionId") or folder,
            "timestamp": folder,
            "mp4": _file(video, endpoint_of(request)),
            "npz": _file(data, endpoint_of(request)),
        }
    )


async def _events(request: Request, boundary: bytes) -> AsyncIterator[_Event]:
    form = _Form(boundary)
    try:
        async for chunk in request.stream():
            for event in form.feed(chunk):
                yield event
        form.close()
    except FormParserError as error:
        raise ApiError(400, f"not a form: {error}") from None
    except ClientDisconnect:
        raise ApiError(400, "the client left") from None


async def _drop(pair: PairUpload) -> None:
    try:
        await pair.drop()
    except (ObjectStoreUnavailable, StoreUnavailable, UploadRefused) as error:
        # The clean-up aborts what is left.
        log.warning("upload_not_dropped", reason=str(error))


def _file(done: Completed, endpoint: str) -> dict[str, Any]:
    return {
        "bucket": done.bucket,
        "key": done.record.key,
        "location": f"{endpoint}/{done.bucket}/{done.record.key}",
        "etag": done.record.etag,
    }
