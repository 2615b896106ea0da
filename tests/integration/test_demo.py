"""The demo's server lives no longer than the demo."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from support import free_port

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death"),
]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_killed_demo_leaves_no_server(tmp_path: Path, how: signal.Signals) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}/health"
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quest_backend", "demo", "--headsets", "1", "--port", str(port),
        "--data-dir", str(tmp_path),
        env={**os.environ, "HOST": "127.0.0.1"}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with httpx.AsyncClient(timeout=2) as http, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == 200:
                    break
            await asyncio.sleep(0.1)
        demo.send_signal(how)
        await demo.wait()
        while await _answers(http, url):
            await asyncio.sleep(0.1)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        await http.get(url)
    except httpx.TransportError:
        return False
    return True
