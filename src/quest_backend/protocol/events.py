"""What an event of the catalogue is, and how its payload is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.protocol.limits import DEFAULT_RATE, Rate


class DeviceType(StrEnum):
    """Who a token is for."""

    HEADSET = "headset"
    TABLET = "tablet"
    DASHBOARD = "dashboard"


# A tablet may do what a dashboard may; nobody else may do another's events.
SENDERS: dict[DeviceType, frozenset[DeviceType]] = {
    DeviceType.HEADSET: frozenset({DeviceType.HEADSET}),
    DeviceType.TABLET: frozenset({DeviceType.TABLET}),
    DeviceType.DASHBOARD: frozenset({DeviceType.TABLET, DeviceType.DASHBOARD}),
}


@dataclass(frozen=True, slots=True)
class Arg:
    """One positional argument of an event. ``type`` is a type that pydantic reads."""

    name: str
    type: Any
    optional: bool = False
    adapter: TypeAdapter[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", TypeAdapter(self.type))


@dataclass(frozen=True, slots=True)
class Outbound:
    """An event from the server to clients."""

    name: str
    summary: str
    args: tuple[Arg, ...] = ()
    to: str = ""
    deprecated: str = ""


@dataclass(frozen=True, slots=True)
class Inbound:
    """An event from a client.

    ``invalid`` is the code of the ``error`` event for a bad payload, unless ``failure`` names
    an event of its own for that. ``ack`` is the type of the acknowledgement, if there is one.
    """

    name: str
    role: DeviceType
    summary: str
    args: tuple[Arg, ...] = ()
    rate: Rate = DEFAULT_RATE
    replies: tuple[Outbound, ...] = ()
    ack: Any = None
    invalid: ErrorCode = ErrorCode.INVALID_INPUT
    failure: Outbound | None = None
    deprecated: str = ""

    def parse(self, values: Sequence[Any]) -> list[Any]:
        """Validated arguments, one per declared ``Arg`` (None for an optional one left out).

        Further arguments are ignored, as every Socket.IO server does.

        Raises:
            InvalidPayload: with ``self.invalid`` and a sentence that names the argument.
        """
        parsed: list[Any] = []
        for index, arg in enumerate(self.args):
            value = values[index] if index < len(values) else None
            if value is None and arg.optional:
                parsed.append(None)
                continue
            try:
                parsed.append(arg.adapter.validate_python(value))
            except ValidationError as error:
                raise InvalidPayload(self.invalid, _first_problem(arg, error)) from None
            except RecursionError:
                raise InvalidPayload(self.invalid, f"{arg.name}: nested too deeply") from None
        return parsed


def _first_problem(arg: Arg, error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join([arg.name, *(str(part) for part in problem["loc"])])
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
