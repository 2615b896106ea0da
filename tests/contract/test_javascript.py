"""The operator's flow, and frames in both forms, with the official JavaScript client."""

import asyncio
import sys
from pathlib import Path

import pytest
from support import TOKENS, Server, new_id

from quest_backend.protocol.events import DeviceType

pytestmark = pytest.mark.asyncio

FOLDER = Path(__file__).parent.parent / "js"


TRANSPORTS = pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])


async def runs(script: str, *args: str) -> None:
    assert (FOLDER / "node_modules" / "socket.io-client").exists(), "run: make test"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "node"),
        str(FOLDER / script),
        *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@TRANSPORTS
async def test_socket_io_client(server: Server, transports: str) -> None:
    device_id, tablet_id = new_id("jsheadset"), new_id("jstablet")
    await runs(
        "flow.mjs",
        server.url,
        transports,
        TOKENS.issue(device_id, DeviceType.HEADSET),
        TOKENS.issue(tablet_id, DeviceType.TABLET),
        device_id,
    )


@TRANSPORTS
async def test_frames_in_both_forms(server: Server, transports: str) -> None:
    device_id = new_id("jsheadset")
    await runs(
        "frames.mjs",
        server.url,
        transports,
        TOKENS.issue(device_id, DeviceType.HEADSET),
        TOKENS.issue(new_id("jsold"), DeviceType.TABLET),
        TOKENS.issue(new_id("jsnew"), DeviceType.TABLET),
        device_id,
    )
