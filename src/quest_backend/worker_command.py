"""``quest-backend worker``: QA's jobs in a process of its own, on any machine."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from quest_backend import logs, settings
from quest_backend.jobs.elsewhere import NotReachable, stores_of

log = structlog.get_logger()
err = Console(stderr=True)


def worker(
    concurrency: Annotated[
        int, typer.Option(min=1, max=32, help="Recordings scored at the same time.")
    ] = 4,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="That of a server on this machine, where REDIS_URL is not set."),
    ] = None,
) -> None:
    """Score recordings for a server, beside it or on another machine, until stopped.

    The settings are those of the server: REDIS_URL, S3_ENDPOINT_URL and so on; without, it works
    for the server that runs in DATA_DIR. QA_CONCURRENCY=0 makes a server leave all jobs to workers.
    """
    try:
        config = settings.load(data_dir=data_dir)
    except settings.SettingsError as error:
        raise _fail(str(error)) from None
    logs.configure(config.log_level)
    try:
        asyncio.run(_work(config, concurrency))
    except NotReachable as error:
        raise _fail(str(error)) from None


async def _work(config: settings.Settings, concurrency: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with stores_of(config) as stores:
        running = stores.jobs.worker(concurrency)
        await running.start()
        log.info("worker_started", concurrency=concurrency)
        try:
            await stopped.wait()
        finally:
            await running.stop()
            log.info("worker_stopped")


def _fail(message: str) -> typer.Exit:
    err.print(f"[red]quest-backend:[/] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(1)
