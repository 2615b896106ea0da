"""The bucket, over any S3: multipart control and single objects.

What each call needs: docs/storage.md.

Bodies of parts never pass here: headsets send them to presigned URLs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from quest_backend.storage.bodies import Bodies, ObjectChanged, ObjectStoreUnavailable
from quest_backend.storage.presign import Credentials, Presigner
from quest_backend.storage.s3_errors import (
    BucketError,
    NoSuchUpload,
    ObjectStoreFull,
    PartsRefused,
    SumsDiffer,
    meaning,
)

__all__ = [
    "BucketError",
    "NoSuchUpload",
    "ObjectChanged",
    "ObjectStore",
    "ObjectStoreFull",
    "ObjectStoreUnavailable",
    "PartsRefused",
    "SumsDiffer",
]

log = structlog.get_logger()

_CONNECT_S = 3.0
_CALL_S = 60.0
_PAGE = 1000
_WHOLE = {"ChecksumType": "FULL_OBJECT"}
# Where recordings may be; no object ever comes of it.
_PROBE_KEY = "sessions/.upload-check"
_MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """One stored part. ``etag`` is without quotes."""

    number: int
    etag: str
    size: int
    stored_at: float = 0.0  # Unix seconds
    checksums: dict[str, str] = field(default_factory=dict)

    def checksum(self, algorithm: str) -> str:
        """The store's own checksum, base64; '' where it has none."""
        return self.checksums.get(algorithm, "")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as the store has it. ``etag`` is without quotes."""

    size: int
    etag: str
    metadata: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)

    def checksum(self, algorithm: str) -> str:
        """The store's own checksum of the whole object, base64; '' where it has none."""
        return self.checksums.get(algorithm, "")


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing. ``etag`` is without quotes."""

    key: str
    size: int
    etag: str
    modified_ms: int


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: float  # Unix seconds


class ObjectStore:
    """One bucket. Open it before use.

    Args:
        bucket: its name.
        region: for signatures.
        endpoint: ``scheme://host[:port]`` of an S3-compatible server; None for AWS.
        credentials: None takes them from where AWS's own tools do.
        asks_sums: the store adds up CRC64NVME of parts and objects when it is asked to. AWS does so
            unasked, and not every other store knows the request.
    """

    def __init__(
        self,
        bucket: str,
        region: str,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        *,
        asks_sums: bool = False,
    ) -> None:
        self.bucket = bucket
        self.region = region
        self._given_endpoint = endpoint
        self._credentials = credentials
        self._asks_sums = asks_sums
        self._session = AioSession()
        self._client: Any = None
        self.bodies = Bodies(self.endpoint, bucket, self.presigner)
        self._stack = contextlib.AsyncExitStack()

    @property
    def endpoint(self) -> str:
        """Where the store is."""
        return self._given_endpoint or f"https://s3.{self.region}.amazonaws.com"

    async def open(self) -> None:
        """Make the client; nothing is sent yet."""
        given = self._credentials
        self._client = await self._stack.enter_async_context(
            self._session.create_client(
                "s3",
                region_name=self.region,
                endpoint_url=self.endpoint,
                aws_access_key_id=given.access_key if given else None,
                aws_secret_access_key=given.secret_key if given else None,
                aws_session_token=(given.session_token or None) if given else None,
                config=AioConfig(
                    signature_version="s3v4",
                    s3={"addressing_style": "path"},
                    # S3-compatible servers know not all of AWS's newer checksums.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    connect_timeout=_CONNECT_S,
                    read_timeout=_CALL_S,
                    retries={"mode": "standard", "max_attempts": 3},
                    max_pool_connections=32,
                ),
            )
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._stack.aclose()
        await self.bodies.close()

    async def credentials(self) -> Credentials:
        """The credentials as they are now: those of a role change every few hours.

        Raises:
            ObjectStoreUnavailable: there are none.
        """
        if self._credentials is not None:
            return self._credentials
        found = await self._session.get_credentials()
        if found is None:
            raise ObjectStoreUnavailable("no AWS credentials")
        frozen = await found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")

    async def presigner(self) -> Presigner:
        """A signer with the credentials as they are now."""
        return Presigner(await self.credentials(), self.region)

    async def _call(self, operation: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        """One call, bounded in time.

        Raises:
            ObjectStoreUnavailable: no answer, or the store has trouble of its own.
            NoSuchUpload, PartsRefused: as they say.
            ClientError: any other refusal.
        """
        try:
            async with asyncio.timeout(_CALL_S):
                return await operation(Bucket=self.bucket, **arguments)
        except ClientError as error:
            raise meaning(error) from error
        except (BotoCoreError, OSError, TimeoutError) as error:
            raise ObjectStoreUnavailable(f"the object store does not answer: {error}") from error

    async def make_bucket(self) -> None:
        """Create the bucket unless it is there."""
        with contextlib.suppress(ClientError):
            await self._call(self._client.head_bucket)
            return
        await self._call(self._client.create_bucket)
        log.info("bucket_created", bucket=self.bucket)

    async def check(self) -> None:
        """Whether the bucket is there and takes uploads: begins one and throws it away.

        It also makes botocore read what it reads at the first call of each kind, which would
        hold the event loop for a tenth of a second in the middle of the day.

        Raises:
            BucketError: it is not; in one line.
        """
        try:
            await self._call(self._client.list_objects_v2, MaxKeys=1)
            await self.head(_PROBE_KEY)
            upload_id = await self.begin(_PROBE_KEY, "text/plain", {"quest-probe": "1"})
            await self.parts(_PROBE_KEY, upload_id)
            await self.abort(_PROBE_KEY, upload_id)
        except ClientError as error:
            raise BucketError(self._complaint(error)) from error
        except ObjectStoreUnavailable as error:
            raise BucketError(f"S3 at {self.endpoint} cannot be reached: {error}") from error

    def _complaint(self, error: ClientError) -> str:
        code = str(error.response.get("Error", {}).get("Code", ""))
        where = f"bucket {self.bucket!r} at {self.endpoint}"
        if code in ("NoSuchBucket", "404"):
            return f"{where} does not exist; create it, or set S3_BUCKET_NAME"
        if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return f"{where}: {code}; the credentials need what docs/storage.md lists"
        if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
            return f"{where} is not in AWS_REGION {self.region!r}"
        return f"{where}: {error}"

    async def ping(self) -> None:
        """Raises ObjectStoreUnavailable when the bucket cannot be read."""
        try:
            await self._call(self._client.head_bucket)
        except ClientError as error:
            raise ObjectStoreUnavailable(self._complaint(error)) from error

    async def begin(self, key: str, content_type: str, metadata: dict[str, str]) -> str:
        """Begin a multipart upload; its id."""
        answer = await self._call(
            self._client.create_multipart_upload,
            Key=key,
            ContentType=content_type,
            Metadata=metadata,
            **({"ChecksumAlgorithm": "CRC64NVME", **_WHOLE} if self._asks_sums else {}),
        )
        return str(answer["UploadId"])

    async def parts(self, key: str, upload_id: str, at_most: int = _MAX_PARTS) -> list[Part]:
        """Stored parts by number; every one, unless ``at_most`` is less.

        SeaweedFS keeps every version of a part that was sent again, and lists them all.

        Raises:
            NoSuchUpload: completed, aborted or never begun.
        """
        found: list[Part] = []
        marker = 0
        while True:
            page = await self._call(
                self._client.list_parts,
                Key=key,
                UploadId=upload_id,
                PartNumberMarker=marker,
                MaxParts=min(_PAGE, at_most),
            )
            rows = page.get("Parts", [])
            found.extend(
                Part(
                    row["PartNumber"],
                    row["ETag"].strip('"'),
                    row["Size"],
                    row["LastModified"].timestamp(),
                    _checksums(row),
                )
                for row in rows
            )
            if not page.get("IsTruncated") or not rows or len(found) >= at_most:
                return sorted(found, key=lambda part: (part.number, part.stored_at))
            marker = rows[-1]["PartNumber"]

    async def put_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        """Store one part of an upload.

        Raises:
            ObjectStoreUnavailable: it was not stored.
        """
        etag = await self.bodies.put_part(key, upload_id, number, body)
        return Part(number, etag, len(body))

    async def read_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """As ``Bodies.read_range``."""
        return await self.bodies.read_range(key, start, end, etag)

    async def complete(
        self, key: str, upload_id: str, parts: Sequence[Part],
        part_sums: Mapping[int, str] = MappingProxyType({}), whole_sum: str = "",
    ) -> str:  # fmt: skip
        """Make the object of its parts; its ETag without quotes.

        ``part_sums`` (by number) and ``whole_sum`` are CRC64NVMEs that the parts and the object
        have to have: compared before there is an object, where the store was asked to add up.

        Raises:
            NoSuchUpload: completed, aborted or never begun.
            SumsDiffer: the parts are other bytes than these; they stay.
            PartsRefused: the store does not take these parts.
        """
        rows: list[dict[str, Any]] = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts
        ]
        more = {}
        if self._asks_sums:
            for row, part in zip(rows, parts, strict=True):
                if part.number in part_sums:
                    row["ChecksumCRC64NVME"] = part_sums[part.number]
            more = {"ChecksumCRC64NVME": whole_sum, **_WHOLE} if whole_sum else {}
        answer = await self._call(
            self._client.complete_multipart_upload,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": rows},
            **more,
        )
        return str(answer["ETag"]).strip('"')

    async def abort(self, key: str, upload_id: str) -> None:
        """Throw an unfinished upload away; one that is gone already is fine."""
        with contextlib.suppress(NoSuchUpload):
            await self._call(self._client.abort_multipart_upload, Key=key, UploadId=upload_id)

    async def head(self, key: str) -> StoredObject | None:
        """The object, or None."""
        try:
            answer = await self._call(self._client.head_object, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return None
            raise
        return StoredObject(
            size=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            metadata={str(k).lower(): str(v) for k, v in answer.get("Metadata", {}).items()},
            # A composite checksum is one of the parts' checksums, not of the object.
            checksums={} if answer.get("ChecksumType") == "COMPOSITE" else _checksums(answer),
        )

    async def read_url(self, endpoint: str, key: str, expires_s: int) -> str:
        """A URL that reads an object, also by range, of a store that is reached at ``endpoint``."""
        signer = await self.presigner()
        path = f"/{self.bucket}/{key}"
        return signer.url("GET", endpoint, path, {}, datetime.now(UTC), expires_s)

    async def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is fine."""
        await self._call(self._client.delete_object, Key=key)

    async def keys_from(self, prefix: str, start: str, count: int = _PAGE) -> list[str]:
        """At most ``count`` keys under ``prefix``, in order, those after ``start``."""
        return [each.key for each in await self.listed(prefix, start, count)]

    async def listed(self, prefix: str, start: str, count: int = _PAGE) -> list[ListedObject]:
        """At most ``count`` (1 to 1,000) objects under ``prefix``, in order, after ``start``."""
        page = await self._call(
            self._client.list_objects_v2,
            Prefix=prefix,
            StartAfter=start,
            MaxKeys=count,
        )
        return [
            ListedObject(
                row["Key"],
                row["Size"],
                row["ETag"].strip('"'),
                int(row["LastModified"].timestamp() * 1000),
            )
            for row in page.get("Contents", [])
        ]

    async def unfinished(self, prefix: str) -> AsyncIterator[UnfinishedUpload]:
        """Every unfinished upload under ``prefix``, ours or not."""
        markers: dict[str, str] = {}
        while True:
            page = await self._call(
                self._client.list_multipart_uploads, Prefix=prefix, MaxUploads=_PAGE, **markers
            )
            rows = page.get("Uploads", [])
            for row in rows:
                yield UnfinishedUpload(row["Key"], row["UploadId"], row["Initiated"].timestamp())
            if not page.get("IsTruncated") or not rows:
                return
            markers = {
                "KeyMarker": page.get("NextKeyMarker", rows[-1]["Key"]),
                "UploadIdMarker": page.get("NextUploadIdMarker", rows[-1]["UploadId"]),
            }


def _checksums(answer: dict[str, Any]) -> dict[str, str]:
    names = ("CRC64NVME", "SHA256")
    return {name: answer[f"Checksum{name}"] for name in names if answer.get(f"Checksum{name}")}
