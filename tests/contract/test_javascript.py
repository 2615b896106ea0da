"""The same flow with the official JavaScript client."""

import asyncio
import sys
from pathlib import Path

import pytest
from support import TOKENS, Server, new_id

from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

FOLDER = Path(__file__).parent.parent / "js"


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
async def test_socket_io_client(server: Server, transports: str) -> None:
    assert (FOLDER / "node_modules" / "socket.io-client").exists(), "run: make test"
    device_id, tablet_id = new_id("jsheadset"), new_id("jstablet")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "node"),
        str(FOLDER / "flow.mjs"),
        server.url,
        transports,
        TOKENS.issue(device_id, DeviceType.HEADSET),
        TOKENS.issue(tablet_id, DeviceType.TABLET),
        device_id,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
