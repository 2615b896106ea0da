"""The demo's server lives no longer than the demo."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
import lab
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
    async with httpx.AsyncClient(timeout=2) as http:

        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await http.get(url)).is_success
            return False

        async def is_gone() -> bool:
            return not await answers()

        await lab.until(answers, timeout_s=60)
        demo.send_signal(how)
        await demo.wait()
        await lab.until(is_gone, timeout_s=30)
