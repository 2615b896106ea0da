"""Presigned URLs: AWS Signature Version 4 in the query, as boto3 writes them to the last byte.

The signing key is derived once a day and the canonical request of an upload is kept as a template,
so that 10,000 part URLs cost milliseconds and not seconds (benchmarks/storage.py). Source: AWS,
"Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_TIME = "%Y%m%dT%H%M%SZ"
# Seven days: S3 takes no longer ones.
MAX_EXPIRY_S = 7 * 24 * 3600
# A client's clock is not asked, but the store's may run a little behind ours.
_CLOCK_SKEW = timedelta(minutes=5)
_MAX_PARAMETERS = 20
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs. ``session_token`` is empty for long-lived keys."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A presigned request that was found to be ours: ``host`` is what it was signed for."""

    host: str
    query: dict[str, str]


class NotSigned(Exception):  # noqa: N818 - a refusal, not a fault
    """Not a request that these credentials signed, or no longer; the message says why."""


class Presigner:
    """Signs and checks queries for one region."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._credentials = credentials
        self._region = region

    def url(
        self, method: str, endpoint: str, path: str, query: dict[str, str], at: datetime,
        expires_s: int,
    ) -> str:  # fmt: skip
        """A URL for one request.

        Args:
            method: as it will be sent.
            endpoint: ``scheme://host[:port]``.
            path: from ``/``, not yet quoted.
            query: the request's own parameters, in the order they are to have.
            at: when it is signed, UTC.
            expires_s: how long it is good for, 1 to 604800.
        """
        given = "".join(f"{_quote(name)}={_quote(value)}&" for name, value in query.items())
        signing = self._signing_query(at, expires_s)
        pairs = [*(pair for pair in given.split("&") if pair), *signing.split("&")]
        canonical = _canonical(method, quote(path, safe="/~"), pairs, host_of(endpoint))
        signature = self._sign(canonical, at)
        return f"{endpoint.rstrip('/')}{quote(path, safe='/~')}?{given}{signing}" \
               f"&X-Amz-Signature={signature}"  # fmt: skip

    def part_url(
        self, endpoint: str, bucket: str, key: str, upload_id: str, at: datetime, expires_s: int
    ) -> Callable[[int], str]:
        """URLs of an upload's parts by number, all signed at ``at``."""
        path = quote(f"/{bucket}/{key}", safe="/~")
        upload = _quote(upload_id)
        signing = self._signing_query(at, expires_s)
        # As sorted: X-Amz-… before partNumber before uploadId.
        canonical = _canonical(
            "PUT", path, [*signing.split("&"), "partNumber=\0", f"uploadId={upload}"],
            host_of(endpoint),
        )  # fmt: skip
        before, after = canonical.encode().split(b"\0")
        begun = hashlib.sha256(before)
        head = self._string_to_sign_head(at).encode()
        key_bytes = self._key(at)
        front = f"{endpoint.rstrip('/')}{path}?partNumber="
        back = f"&uploadId={upload}&{signing}&X-Amz-Signature="

        def signed(number: int) -> str:
            digest = begun.copy()
            digest.update(b"%d%b" % (number, after))
            text = head + digest.hexdigest().encode()
            signature = hmac.digest(key_bytes, text, "sha256").hex()
            return f"{front}{number}{back}{signature}"

        return signed

    def check(
        self, method: str, raw_path: str, raw_query: str, hosts: list[str], now: datetime
    ) -> Signed:
        """Whether we signed exactly this request, for one of ``hosts``, and not too long ago.

        Args:
            method: as received.
            raw_path: as received, still quoted.
            raw_query: as received, still quoted.
            hosts: Host headers it may have been signed for.
            now: UTC.

        Raises:
            NotSigned: anything else.
        """
        query = _parse(raw_query)
        at = self._signed_at(query, now)
        if query.get("X-Amz-Security-Token", "") != self._credentials.session_token:
            raise NotSigned("Signed with other credentials")
        # As S3 does: what a client's library quoted otherwise is the same request.
        pairs = [
            f"{_quote(name)}={_quote(value)}"
            for name, value in query.items()
            if name != "X-Amz-Signature"
        ]
        path = quote(unquote(raw_path), safe="/~")
        for host in hosts:
            expected = self._sign(_canonical(method, path, pairs, host), at)
            if hmac.compare_digest(expected.encode(), query["X-Amz-Signature"].encode()):
                return Signed(host, query)
        raise NotSigned("The signature does not match this request")

    def _signed_at(self, query: dict[str, str], now: datetime) -> datetime:
        try:
            at = datetime.strptime(query["X-Amz-Date"], _TIME).replace(tzinfo=UTC)
            expires_s = int(query["X-Amz-Expires"])
            plain = (
                query["X-Amz-Algorithm"] == _ALGORITHM and query["X-Amz-SignedHeaders"] == "host"
            )
            ours = query["X-Amz-Credential"] == f"{self._credentials.access_key}/{self._scope(at)}"
        except (KeyError, ValueError):
            raise NotSigned("Not a presigned request") from None
        if not plain or not 1 <= expires_s <= MAX_EXPIRY_S:
            raise NotSigned("Not a presigned request of this server")
        if not ours:
            raise NotSigned("Signed with other credentials")
        if at > now + _CLOCK_SKEW:
            raise NotSigned("Signed in the future")
        if now > at + timedelta(seconds=expires_s):
            raise NotSigned("The URL has expired; ask for a new one")
        return at

    def _scope(self, at: datetime) -> str:
        return f"{at:%Y%m%d}/{self._region}/s3/aws4_request"

    def _key(self, at: datetime) -> bytes:
        return _signing_key(self._credentials.secret_key, f"{at:%Y%m%d}", self._region)

    def _signing_query(self, at: datetime, expires_s: int) -> str:
        if not 1 <= expires_s <= MAX_EXPIRY_S:
            raise ValueError(f"expires_s: 1 to {MAX_EXPIRY_S}")
        credential = _quote(f"{self._credentials.access_key}/{self._scope(at)}")
        text = (
            f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={credential}"
            f"&X-Amz-Date={at:{_TIME}}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host"
        )
        token = self._credentials.session_token
        return f"{text}&X-Amz-Security-Token={_quote(token)}" if token else text

    def _string_to_sign_head(self, at: datetime) -> str:
        return f"{_ALGORITHM}\n{at:{_TIME}}\n{self._scope(at)}\n"

    def _sign(self, canonical: str, at: datetime) -> str:
        text = self._string_to_sign_head(at) + hashlib.sha256(canonical.encode()).hexdigest()
        return hmac.digest(self._key(at), text.encode(), "sha256").hex()


def host_of(endpoint: str) -> str:
    """The Host header of requests to ``endpoint``: without a default port."""
    parts = urlsplit(endpoint)
    host = parts.netloc.rpartition("@")[2]
    if parts.port is not None and parts.port == _DEFAULT_PORTS.get(parts.scheme):
        host = host.rpartition(":")[0]
    return host


def _parse(raw_query: str) -> dict[str, str]:
    """The parameters of a presigned request, each of which may be there once.

    Raises:
        NotSigned: this is none.
    """
    pairs = raw_query.split("&", _MAX_PARAMETERS)
    query: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name in query or len(pairs) > _MAX_PARAMETERS:
            raise NotSigned("Not a presigned request")
        query[unquote(name)] = unquote(value)
    if len(query) != len(pairs) or "X-Amz-Signature" not in query:
        raise NotSigned("Not a presigned request")
    return query


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _canonical(method: str, quoted_path: str, pairs: list[str], host: str) -> str:
    # The hash of the body is not known when a URL is made.
    query = "&".join(sorted(pairs))
    return f"{method}\n{quoted_path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"


@lru_cache(maxsize=8)
def _signing_key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
