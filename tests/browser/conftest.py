"""A server of its own for the browser tests: its fleet is only what a test puts into it."""

from collections.abc import Iterator

import pytest
from support import Server


@pytest.fixture
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An empty lab; graces are long enough for a restart."""
    running = Server(tmp_path_factory.mktemp("lab"), TABLET_GRACE_SECONDS="30").start()
    yield running
    running.stop()
    log = running.log.read_text()
    assert "event_failed" not in log, log
    assert "request_failed" not in log, log
