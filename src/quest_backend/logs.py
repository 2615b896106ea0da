"""Structured logs: readable on a terminal, JSON elsewhere, never a secret."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_PARTS = ("token", "secret", "password", "api_key", "apikey", "authorization", "enrollment")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key whose name speaks of a secret."""
    for key in event:
        if any(part in key.lower() for part in _SECRET_PARTS):
            event[key] = "[redacted]"
    return event


def configure(level: str) -> None:
    """Send structlog and the standard library's warnings to stderr at ``level`` and above."""
    number = getattr(logging, level.upper())
    terminal = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))
