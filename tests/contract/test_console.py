"""The console's files: compressed, kept for ever, under a strict policy."""

import gzip
import re
from pathlib import Path

import pytest
from support import Server

pytestmark = pytest.mark.asyncio

FIRST_LOAD_BYTES = 300_000


async def test_first_load_is_small_and_allows_no_inline_script(server: Server) -> None:
    async with server.http() as http:
        http.headers["Accept-Encoding"] = "gzip"
        page = await http.get("/")
        assert page.status_code == 200, page.text
        policy = page.headers["content-security-policy"]
        nonce = re.search(r"'nonce-([^']+)'", policy)
        assert nonce is not None
        assert "script-src" not in policy
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert nonce[1] in page.text
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL)
        assert scripts == [""]

        total = len(gzip.compress(page.content))
        for name in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text):
            asset = await http.get(name)
            assert asset.status_code == 200
            assert "immutable" in asset.headers["cache-control"]
            total += int(asset.headers["content-length"])
        assert 50_000 < total <= FIRST_LOAD_BYTES


async def test_each_page_has_a_nonce_of_its_own(server: Server) -> None:
    async with server.http() as http:
        first, second = [await http.get("/") for _ in range(2)]
    assert first.headers["content-security-policy"] != second.headers["content-security-policy"]


async def test_videos_may_come_from_where_the_store_is_reached(tmp_path: Path) -> None:
    public = "https://recordings.example.com:8443"
    running = Server(tmp_path, S3_PUBLIC_ENDPOINT_URL=f"{public}/").start()
    try:
        async with running.http() as http:
            policy = (await http.get("/")).headers["content-security-policy"]
    finally:
        running.stop()
    assert f"media-src 'self' {public};" in policy
    assert policy.count(public) == 1


@pytest.mark.parametrize(
    "name", ["..%2findex.html", "missing.js", ".hidden", "%2e%2e", "a/b.js", "index.html.gz"]
)
async def test_nothing_else_is_served(server: Server, name: str) -> None:
    async with server.http() as http:
        answer = await http.get(f"/assets/{name}")
    assert answer.status_code in (400, 404)
    assert answer.json()["ok"] is False


async def test_a_browser_that_cannot_unpack_gets_plain_files(server: Server) -> None:
    async with server.http() as http:
        script = re.search(r'src="(/assets/[^"]+\.js)"', (await http.get("/")).text)
        assert script is not None
        plain = await http.get(script[1], headers={"Accept-Encoding": "identity"})
        packed = await http.get(script[1], headers={"Accept-Encoding": "gzip, br;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] in ("br", "gzip")
    assert plain.headers["content-type"].startswith("text/javascript")
