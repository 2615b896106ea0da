"""Two versions of the server beside each other: what the older one leaves to the newer.

Messages and records have ``v``: the least version that has to be understood to act on them. Whoever
only adds fields or kinds leaves it; fields that a server does not know it keeps. A message of a
later version is not for this server, and a record of one is not changed by it.
"""

from collections.abc import Mapping
from typing import Any

# As in lua/common.lua.
VERSION = 1


class NewerRecord(Exception):  # noqa: N818 - a state, not a bug
    """A later version of the server made this; here it can be neither read nor changed."""


def is_newer(fields: Mapping[str, Any]) -> bool:
    """Whether this message or record is for later versions only."""
    return int(fields.get("v", VERSION)) > VERSION


def check(what: str, fields: Mapping[str, Any]) -> None:
    """Raises NewerRecord, with ``what`` it is, if it is for later versions only."""
    if is_newer(fields):
        raise NewerRecord(f"A newer server made this {what}: only that one can go on with it")
