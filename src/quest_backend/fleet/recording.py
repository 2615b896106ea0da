"""Who may control a headset, and whether a command has to be sent."""

from enum import StrEnum

from quest_backend.fleet.devices import Device


class Command(StrEnum):
    """What a headset is told."""

    START = "start"
    STOP = "stop"


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


def needs(device: Device, command: Command) -> bool:
    """Whether the headset is not, or may soon not be, in the state that ``command`` wants."""
    in_state = device.is_recording == (command is Command.START)
    return not in_state or device.commanded not in ("", command.value)
