"""Readings of an ASGI scope that several edges need."""

from collections.abc import Mapping
from typing import Any


def header(scope: Mapping[str, Any], wanted: bytes) -> bytes:
    """The first header of this lower-case name, ``b""`` when there is none."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
