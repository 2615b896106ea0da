"""On the event loop that the server runs on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as ``quest-backend serve`` has it."""
    return {"uvloop": uvloop.new_event_loop}
