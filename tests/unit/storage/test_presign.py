"""Our URLs are boto3's, to the last byte; and only our own are accepted."""

from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_backend.storage.presign import Credentials, NotSigned, Presigner, host_of

_NOW = datetime(2026, 2, 6, 14, 30, 52, tzinfo=UTC)
_CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
_keys = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)
    .filter(lambda part: part not in (".", "..")),
    min_size=1, max_size=4,
).map("/".join)  # fmt: skip
_regions = st.sampled_from(["us-east-1", "eu-west-1", "ap-southeast-2", "cn-north-1", "auto"])
_endpoints = st.sampled_from([
    "http://127.0.0.1:8333", "http://lab.example:3200", "https://s3.eu-west-1.amazonaws.com",
    "https://quest.example:443", "http://quest.example:80", "http://[::1]:3200",
])  # fmt: skip
_dates = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_tokens = st.one_of(st.just(""), _text)
_expiry = st.integers(1, 7 * 24 * 3600)


def _boto(method: str, credentials: Credentials, region: str, endpoint: str, at: datetime,
          expires_s: int, **params: object) -> str:  # fmt: skip
    """What boto3 makes of it at that time."""
    client = _client(credentials, region, endpoint)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        url: str = client.generate_presigned_url(method, Params=params, ExpiresIn=expires_s)
    return url


_clients: dict[object, object] = {}


def _client(credentials: Credentials, region: str, endpoint: str) -> "boto3.client":
    known = (credentials, region, endpoint)
    if known not in _clients:
        _clients[known] = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token or None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
            ),
        )
    return _clients[known]


@settings(max_examples=150, deadline=None)
@given(
    key=_keys, upload_id=_text, number=st.integers(1, 10_000), at=_dates, region=_regions,
    endpoint=_endpoints, expires_s=_expiry,
    token=st.sampled_from(["", "IQoJb3JpZ2luX2VjE+/=="]),
)  # fmt: skip
def test_part_urls_are_boto3s(
    key: str, upload_id: str, number: int, at: datetime, region: str, endpoint: str,
    expires_s: int, token: str,
) -> None:  # fmt: skip
    credentials = Credentials(_CREDENTIALS.access_key, _CREDENTIALS.secret_key, token)
    signed = Presigner(credentials, region).part_url(
        endpoint, "turing-robotics-datahub", key, upload_id, at, expires_s
    )
    assert signed(number) == _boto(
        "upload_part", credentials, region, endpoint, at, expires_s,
        Bucket="turing-robotics-datahub", Key=key, PartNumber=number, UploadId=upload_id,
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(key=_keys, at=_dates, region=_regions, endpoint=_endpoints, expires_s=_expiry)
def test_object_urls_are_boto3s(
    key: str, at: datetime, region: str, endpoint: str, expires_s: int
) -> None:
    ours = Presigner(_CREDENTIALS, region).url("GET", endpoint, f"/bucket/{key}", {}, at, expires_s)
    assert ours == _boto(
        "get_object", _CREDENTIALS, region, endpoint, at, expires_s, Bucket="bucket", Key=key
    )


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 100 * 1024**3), key=_keys)
def test_all_parts_of_a_file_of_any_size_are_the_slow_ways(size: int, key: str) -> None:
    """The template of a whole upload signs what the general signer signs."""
    presigner = Presigner(_CREDENTIALS, "eu-west-1")
    signed = presigner.part_url("http://h:3200", "b" * 8, key, "upload", _NOW, 3600)
    parts = -(-size // (10 * 1024**2))
    for number in {1, parts // 2 + 1, parts}:
        assert signed(number) == presigner.url(
            "PUT", "http://h:3200", f"/{'b' * 8}/{key}",
            {"partNumber": str(number), "uploadId": "upload"}, _NOW, 3600,
        )  # fmt: skip


def _request(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.path, parts.query


@settings(max_examples=100, deadline=None)
@given(key=_keys, upload_id=_text, token=_tokens)
def test_what_we_sign_we_accept(key: str, upload_id: str, token: str) -> None:
    presigner = Presigner(Credentials("AKID", "secret", token), "eu-west-1")
    url = presigner.part_url("http://lab:3200", "bucket", key, upload_id, _NOW, 60)(7)
    found = presigner.check("PUT", *_request(url), ["other:1", "lab:3200"], _NOW)
    assert found.host == "lab:3200"
    assert found.query["partNumber"] == "7"
    assert found.query["uploadId"] == upload_id


def test_a_url_that_a_library_quoted_anew_is_still_ours() -> None:
    """yarl, for one, writes %2F in a query as /."""
    path, query = _request(_signed())
    presigner = Presigner(_CREDENTIALS, "eu-west-1")
    assert "%2F" in query
    again = query.replace("%2F", "/").replace("uploadId=u", "uploadId=%75")
    assert presigner.check("PUT", path, again, ["lab:3200"], _NOW).query["uploadId"] == "u"


def _signed(expires_s: int = 60) -> str:
    return Presigner(_CREDENTIALS, "eu-west-1").part_url(
        "http://lab:3200", "bucket", "sessions/20260206_143052/recording.mp4", "u", _NOW, expires_s
    )(1)


@pytest.mark.parametrize(
    ("method", "change", "host", "seconds", "reason"),
    [
        ("GET", ("", ""), "lab:3200", 0, "does not match"),
        ("PUT", ("143052", "143053"), "lab:3200", 0, "does not match"),
        ("PUT", ("partNumber=1", "partNumber=2"), "lab:3200", 0, "does not match"),
        ("PUT", ("Expires=60", "Expires=61"), "lab:3200", 0, "does not match"),
        ("PUT", ("", ""), "evil:3200", 0, "does not match"),
        ("PUT", ("", ""), "lab:3200", 61, "has expired"),
        ("PUT", ("", ""), "lab:3200", -600, "in the future"),
        ("PUT", ("AKIDEXAMPLE", "AKIDOTHER"), "lab:3200", 0, "other credentials"),
        ("PUT", ("eu-west-1", "eu-west-2"), "lab:3200", 0, "other credentials"),
        ("PUT", ("SignedHeaders=host", "SignedHeaders=host%3Bx"), "lab:3200", 0, "presigned"),
        ("PUT", ("X-Amz-Signature=", "X-Amz-Sig="), "lab:3200", 0, "presigned"),
        ("PUT", ("Expires=60", "Expires=x"), "lab:3200", 0, "presigned"),
        ("PUT", ("&uploadId=u", "&uploadId=u&uploadId=u"), "lab:3200", 0, "presigned"),
        ("PUT", ("&uploadId=u", "&uploadId=u&x"), "lab:3200", 0, "presigned"),
        ("PUT", ("&uploadId=u", "&uploadId=u" + "&a=1" * 30), "lab:3200", 0, "presigned"),
    ],
)  # fmt: skip
def test_what_we_did_not_sign_is_refused(
    method: str, change: tuple[str, str], host: str, seconds: int, reason: str
) -> None:
    path, query = _request(_signed().replace(*change))
    presigner = Presigner(_CREDENTIALS, "eu-west-1")
    with pytest.raises(NotSigned, match=reason):
        presigner.check(method, path, query, [host], _NOW + timedelta(seconds=seconds))


def test_hosts_have_no_default_port() -> None:
    assert host_of("http://a:80") == "a"
    assert host_of("https://a:443/") == "a"
    assert host_of("http://a:443") == "a:443"
    assert host_of("http://[::1]:80") == "[::1]"


def test_secrets_are_not_shown() -> None:
    assert _CREDENTIALS.secret_key not in repr(_CREDENTIALS)


@pytest.mark.parametrize("expires_s", [0, 604_801])
def test_an_expiry_that_s3_would_refuse_is_an_error(expires_s: int) -> None:
    with pytest.raises(ValueError, match="expires_s"):
        _signed(expires_s)
