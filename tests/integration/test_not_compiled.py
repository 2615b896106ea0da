"""Installed where there was no C compiler: everything works, and the log says what it costs."""

from pathlib import Path

import pytest
from support import Server, headset, tablet

from quest_backend.protocol import catalogue
from quest_backend.sockets.websocket import FastReader

WITHOUT = "import sys\nsys.modules['quest_backend.sockets.fast_reader'] = None\n"


@pytest.mark.asyncio
async def test_frames_come_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    server = Server(
        tmp_path / "data", PYTHONPATH=str(tmp_path), WEBSOCKET_PROTOCOL="picows"
    ).start()
    try:
        async with headset(server) as quest, tablet(server) as operator:
            await operator.ask(
                catalogue.TABLET_CONNECT_HEADSET, catalogue.ON_HEADSET_CONNECTED, quest.identity
            )
            await quest.send(catalogue.HEADSET_FRAME, "AAAA")
            assert await operator.gets(catalogue.ON_HEADSET_FRAME_UPDATED) == "AAAA"
        assert "not_compiled" in server.log.read_text()
    finally:
        server.stop()


def test_these_tests_run_on_what_is_compiled() -> None:
    assert FastReader is not None, "install gcc and python3-dev, then: make clean test"
