"""Requests that are tried again: with jitter, ever more slowly, and with an end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504, 507}

T = TypeVar("T")


class UploadError(Exception):
    """The upload did not succeed; the message says why. Calling again goes on where it was."""

    def __init__(self, message: str, status: int = 0, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}


class TryAgain(Exception):  # noqa: N818 - an order
    """A passing trouble: ``after_s`` seconds is when to come back, if the server said so."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


async def persist(what: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """``what`` again and again while it raises TryAgain, for ``patience_s`` seconds at most.

    Raises:
        UploadError: patience is over, with the last reason; or what ``what`` raised.
    """
    deadline = time.monotonic() + patience_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await what()
        except TryAgain as trouble:
            wait = max(trouble.after_s, pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            if time.monotonic() + wait > deadline:
                raise UploadError(f"gave up after {patience_s:g} s: {trouble}") from trouble
            await asyncio.sleep(wait)
            pause = min(_LONGEST_PAUSE_S, pause * 2)


def server_url(url: str) -> str:
    """``url`` without a slash at its end.

    Raises:
        UploadError: it is not one of a server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UploadError(f"{url!r} is not the URL of a server, such as http://127.0.0.1:3200", 400)
    return url.rstrip("/")


class Api:
    """The server's REST, as the upload client needs it."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, headers: dict[str, str], patience_s: float
    ) -> None:
        self.http = http
        self._url = server_url(url)
        self._headers = headers
        self._patience_s = patience_s

    async def reach(self, patience_s: float) -> None:
        """Whether there is a server, before somebody waits for it.

        Raises:
            UploadError: none answered within ``patience_s`` seconds.
        """
        await persist(lambda: self._once("GET", "/test", {}), patience_s)

    async def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """The answer's JSON.

        Raises:
            UploadError: refused, or no answer for as long as patience lasts.
        """
        return await persist(lambda: self._once(method, path, arguments), self._patience_s)

    async def _once(self, method: str, path: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            async with self.http.request(
                method, f"{self._url}{path}", headers=self._headers, **arguments
            ) as answer:
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise TryAgain(f"{path}: {str(error) or type(error).__name__}") from error
        if answer.status == 200 and isinstance(body, dict):
            return body
        told = body if isinstance(body, dict) else {}
        message = str(told.get("error", f"status {answer.status}"))
        if answer.status in _TRY_AGAIN:
            raise TryAgain(message, float(told.get("retryAfter", 0)))
        raise UploadError(message, answer.status, told)
