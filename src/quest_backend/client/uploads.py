"""One file into the bucket: begun or resumed, its parts sent side by side, completed."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from quest_backend.client.http import Api, TryAgain, UploadError, persist
from quest_backend.client.journal import Journal, Upload
from quest_backend.protocol.recordings import FileType, PartPlan

_IDLE_S = 60.0
_CONNECT_S = 10.0
_PIECE_BYTES = 256 * 1024
# A journal's upload may be gone, and a complete may find parts missing: so often is begun anew.
_ROUNDS = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that is in the bucket."""

    key: str
    bucket: str
    location: str
    etag: str
    size: int
    resumed_parts: int


class UploadClient:
    """Uploads recordings to one server. Use as an async context manager.

    Args:
        url: the server.
        token: a device token, or
        api_key: the admin key.
        connections: parts on their way at a time; so many are in memory.
        patience_s: how long one request is tried again while server or store are away.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        api_key: str | None = None,
        connections: int = 4,
        patience_s: float = 120.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if api_key:
            self._headers["X-API-Key"] = api_key
        self._connections = connections
        self._patience_s = patience_s
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections + 2),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_IDLE_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._http is not None:
            await self._http.close()

    async def reach(self, patience_s: float) -> None:
        """Find out whether there is a server, for who will not wait for one as ``upload`` does.

        Raises:
            UploadError: none answered within ``patience_s`` seconds.
        """
        await self._api().reach(patience_s)

    def _api(self) -> Api:
        if self._http is None:
            raise RuntimeError("use UploadClient as an async context manager")
        return Api(self._http, self._url, self._headers, self._patience_s)

    async def upload(
        self,
        path: Path,
        *,
        timestamp: str,
        file_type: FileType,
        session_id: str | None = None,
        progress: Progress | None = None,
    ) -> Uploaded:
        """Upload a file, or go on with what was sent before a crash.

        Args:
            path: the file; its journal lies beside it until the upload is done.
            timestamp: when it was recorded: ``YYYYMMDD_HHMMSS``, Unix milliseconds or ISO 8601.
            file_type: which file of the recording.
            session_id: the capture session, where it is known.
            progress: called with bytes that are stored and all bytes.

        Raises:
            UploadError: refused, or server or store stayed away; call again to go on.
            OSError: the file cannot be read.
        """
        api = self._api()
        stat = await asyncio.to_thread(path.stat)
        wanted = Upload(self._url, timestamp, str(file_type), stat.st_size, stat.st_mtime_ns)
        with Journal(path) as journal:
            job = _Job(api, path, wanted, journal, session_id, progress)
            done = await job.run(self._connections, self._patience_s)
            journal.done()
            return done


class _Job:
    def __init__(
        self, api: Api, path: Path, wanted: Upload, journal: Journal,
        session_id: str | None, progress: Progress | None,
    ) -> None:  # fmt: skip
        self._http = api.http
        self._api = api
        self._path = path
        self._wanted = wanted
        self._journal = journal
        self._session_id = session_id
        self._progress = progress
        self._urls: dict[int, str] = {}
        self._etags: dict[int, str] = {}
        self._plan = PartPlan(wanted.size, max(1, wanted.size))
        self._upload = wanted
        self._resumed = 0

    async def run(self, connections: int, patience_s: float) -> Uploaded:
        finished = await self._finished_before()
        if finished is not None:
            return finished
        for round_ in range(_ROUNDS):
            last = round_ == _ROUNDS - 1
            await self._begin()
            try:
                await self._send_missing(connections, patience_s)
                return await self._complete()
            except UploadError as error:
                again = error.body.get("missingParts") or error.body.get("wrongParts")
                if last or (error.status != 404 and not again):
                    raise
                for number in again or list(self._etags):
                    self._etags.pop(int(number), None)
                self._journal.begin(self._upload, self._etags)
        raise AssertionError("the last round returns or raises")

    async def _finished_before(self) -> Uploaded | None:
        """All parts were sent and only the answer, or the last step, was lost."""
        before, sent = self._journal.read()
        if before is None or not before.chunk_bytes or not sent:
            return None
        if replace(before, upload_id="", key="", chunk_bytes=0) != self._wanted:
            return None
        plan = PartPlan(before.size, before.chunk_bytes)
        if len(sent) < plan.parts:
            return None
        self._upload, self._plan, self._etags = before, plan, sent
        self._resumed = len(sent)
        try:
            done = await self._complete()
        except UploadError as error:
            if error.status not in (400, 404):
                raise
            return None
        self._tell()
        return done

    async def _begin(self) -> None:
        """Start; the server answers with the same upload when it is still open."""
        wanted = self._wanted
        body: dict[str, Any] = {
            "timestamp": wanted.timestamp,
            "fileType": wanted.file_type,
            "fileSize": wanted.size,
            "fileName": self._path.name,
        }
        if self._session_id:
            body["sessionId"] = self._session_id
        reply = await self._api.call("POST", "/chunked-upload/start", json=body)
        self._upload = replace(
            wanted,
            upload_id=reply["uploadId"],
            key=reply["s3Key"],
            chunk_bytes=reply["chunkSize"],
        )
        self._plan = PartPlan(wanted.size, reply["chunkSize"])
        self._urls = {one["partNumber"]: one["url"] for one in reply["presignedUrls"]}
        before, sent = self._journal.read()
        self._etags = await self._confirmed(sent) if before == self._upload else {}
        self._resumed = len(self._etags)
        self._journal.begin(self._upload, self._etags)
        self._tell()

    async def _confirmed(self, sent: dict[int, str]) -> dict[int, str]:
        """What the journal says was sent and the store says it has."""
        reply = await self._api.call("GET", "/chunked-upload/status", params=self._names())
        there = {part["partNumber"]: part["etag"] for part in reply["uploadedParts"]}
        return {number: etag for number, etag in sent.items() if there.get(number) == etag}

    def _names(self) -> dict[str, str]:
        return {"uploadId": self._upload.upload_id, "s3Key": self._upload.key}

    def _tell(self) -> None:
        if self._progress is not None:
            done = sum(self._plan.size_of(number) for number in self._etags)
            self._progress(done, self._plan.file_bytes)

    async def _send_missing(self, connections: int, patience_s: float) -> None:
        left = iter([n for n in range(1, self._plan.parts + 1) if n not in self._etags])

        async def work() -> None:
            for number in left:
                etag = await self._send(number, patience_s)
                self._etags[number] = etag
                self._journal.sent(number, etag)
                self._tell()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(connections, self._plan.parts)):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _send(self, number: int, patience_s: float) -> str:
        offset, size = self._plan.offset_of(number), self._plan.size_of(number)
        body, digest = await asyncio.to_thread(_read, self._path, offset, size)
        headers = {
            "Content-MD5": digest,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }

        async def put() -> tuple[int, str, str]:
            try:
                async with self._http.put(
                    # A signed URL goes out as it is: yarl would write %2F as /.
                    URL(self._urls[number], encoded=True),
                    data=_pieces(body),
                    headers=headers,
                ) as answer:
                    text = await answer.text(errors="replace")
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise TryAgain(f"part {number}: {str(error) or type(error).__name__}") from error
            return answer.status, answer.headers.get("ETag", "").strip('"'), text[:200]

        async def once() -> str:
            status, etag, text = await put()
            if status == 403:  # its URL has expired, or the store has new credentials
                await self._renew(number)
                status, etag, text = await put()  # at once: the new one does not live for ever
            if status == 200:
                return etag
            if status == 404:
                raise UploadError(f"part {number}: the upload is gone", 404)
            if status == 403 or status >= 500:
                raise TryAgain(f"part {number}: {status} {text}")
            raise UploadError(f"part {number}: {status} {text}", status)

        return await persist(once, patience_s)

    async def _renew(self, number: int) -> None:
        reply = await self._api.call(
            "POST", "/chunked-upload/presign-part", json={**self._names(), "partNumber": number}
        )
        self._urls[number] = reply["url"]

    async def _complete(self) -> Uploaded:
        parts = [{"partNumber": n, "etag": etag} for n, etag in sorted(self._etags.items())]
        reply = await self._api.call(
            "POST", "/chunked-upload/complete", json={**self._names(), "parts": parts}
        )
        return Uploaded(
            key=reply["s3Key"],
            bucket=reply["bucket"],
            location=reply["location"],
            etag=reply["etag"],
            size=self._plan.file_bytes,
            resumed_parts=self._resumed,
        )


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    """A part in pieces: written at once, it would hold the event loop."""
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def _read(path: Path, offset: int, size: int) -> tuple[bytes, str]:
    """A part, and its MD5 in base64: what S3 compares on arrival."""
    with path.open("rb") as file:
        body = os.pread(file.fileno(), size, offset)
    if len(body) != size:
        raise UploadError(f"{path} has become shorter than when the upload began")
    return body, base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
