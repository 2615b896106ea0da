"""A pass-through in front of an S3 that counts requests, by what S3's price list calls them."""

from collections import Counter
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "content-length"}
_MOST_BYTES = 64 * 2**20


class CountingS3:
    """Signed requests go on as they came: the ``Host`` that was signed stays."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.requests: Counter[str] = Counter()
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        assert self._http is not None
        self.requests[_kind(request)] += 1
        body = await request.read()
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP]
        async with self._http.request(
            request.method,
            URL(self._endpoint + request.raw_path, encoded=True),
            headers=headers,
            data=body,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            kept = [(k, v) for k, v in answer.headers.items() if k.lower() not in _HOP]
            response = web.Response(status=answer.status, body=content or None)
            response.headers.clear()
            for name, value in kept:
                response.headers.add(name, value)
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                response.headers["Content-Length"] = answer.headers["Content-Length"]
            return response


def _kind(request: web.Request) -> str:
    """``write`` is PUT, COPY, POST and LIST; ``read`` GET and all other; DELETE costs nothing."""
    if request.method in ("PUT", "POST"):
        return "write"
    if request.method == "DELETE":
        return "free"
    lists = {"list-type", "uploads", "uploadId"} & set(request.query)
    return "write" if request.method == "GET" and lists else "read"
