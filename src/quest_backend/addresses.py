"""Addresses of Valkey as settings give them: a server, or Sentinels that know the primary."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_PLAIN = ("redis", "rediss", "unix")
_SENTINEL = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_SENTINEL_PORT = 26379
_FORMS = "redis://host:port, rediss://…, unix:///path or redis+sentinel://host:port,host:port/name"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where Valkey is.

    ``url`` is one that redis-py reads. With ``sentinels`` its host says nothing: these are asked
    for the primary of ``service``.
    """

    url: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""


def parse(url: str) -> StoreAddress:
    """Read ``redis[s]://``, ``unix://`` or ``redis[s]+sentinel://[user:password@]h:p,h:p/name[/db]``.

    User and password are Valkey's; those of the Sentinels come as ``?sentinel_username=…`` and
    ``?sentinel_password=…``.

    Raises:
        ValueError: it is none of these; the message shows no password.
    """
    parts = urlsplit(url)
    if parts.scheme in _PLAIN and "," not in parts.netloc:
        return StoreAddress(url)
    if parts.scheme not in _SENTINEL:
        raise ValueError(f"not an address of a Valkey; write {_FORMS}")
    who, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("redis+sentinel:// ends with the name of the primary: …:26379/quest")
    if database and not database.isdecimal():
        raise ValueError(f"not the number of a database: {database!r}")
    plain = SplitResult(
        _SENTINEL[parts.scheme], f"{who}{at}primary.invalid", f"/{database}", parts.query, ""
    )
    sentinels = tuple(_host(each) for each in hosts.split(","))
    return StoreAddress(plain.geturl(), sentinels, service)


def split(urls: str) -> list[str]:
    """Addresses that are separated by commas, each of which may name Sentinels by commas."""
    return [url.strip() for url in re.split(r",(?=[^,]*://)", urls.strip(", ")) if url.strip()]


def shown(url: str) -> str:
    """The address without user and password, for messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    try:
        port = parts.port or _SENTINEL_PORT
    except ValueError:
        raise ValueError(f"not the port of a Sentinel: {text!r}") from None
    if not parts.hostname:
        raise ValueError("redis+sentinel:// names each Sentinel: host:port,host:port")
    return parts.hostname, port
