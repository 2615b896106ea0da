"""Who may control a headset, and whether a command has to be sent."""

from enum import StrEnum

from quest_backend.fleet.devices import Device


class Command(StrEnum):
    """What a headset is told."""

    START = "start"
    STOP = "stop"


_COMMANDS = frozenset(Command)


class Outcome(StrEnum):
    """What becomes of a request to start or stop one device."""

    SEND = "send"
    ALREADY = "already"
    OFFLINE = "Device not online"
    DENIED = "Device locked by another tablet"


def may_control(device: Device | None, tablet_socket: str) -> bool:
    """A tablet controls what it holds, and what nobody holds (legacy tablets never lock)."""
    return device is None or device.locked_by in ("", tablet_socket)


def decide(device: Device | None, tablet_socket: str, command: Command) -> Outcome:
    """Whether to send ``command``.

    A headset already in the wanted state gets none, unless the opposite is still under way:
    a stop right after a start must not be lost because the start is not yet confirmed.
    """
    if device is None or not device.is_online:
        return Outcome.OFFLINE
    if not may_control(device, tablet_socket):
        return Outcome.DENIED
    return Outcome.SEND if needs(device, command) else Outcome.ALREADY


def ignores(device: Device, said_recording: bool | None) -> bool:
    """Whether the headset was told something and, as far as is known, does the opposite.

    ``said_recording``: what it last said itself on this connection, if it did.
    """
    if device.commanded not in _COMMANDS:
        return False
    recording = device.is_recording if said_recording is None else said_recording
    return recording != (device.commanded == Command.START)


def needs(device: Device, command: Command) -> bool:
    """Whether the headset is not, or may soon not be, in the state that ``command`` wants."""
    in_state = device.is_recording == (command is Command.START)
    return not in_state or device.commanded not in ("", command.value)
