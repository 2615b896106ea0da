"""Who may control a headset, and whether it does what it was told."""

from enum import StrEnum

from quest_backend.fleet.devices import Device


class Command(StrEnum):
    """What a headset is told."""

    START = "start"
    STOP = "stop"


_COMMANDS = frozenset(Command)


class Denial(StrEnum):
    """Why a device is not told."""

    OFFLINE = "Device not online"
    LOCKED = "Device locked by another tablet"


def may_control(device: Device | None, tablet_socket: str) -> bool:
    """A tablet controls what it holds, and what nobody holds (legacy tablets never lock)."""
    return device is None or device.locked_by in ("", tablet_socket)


def denial(device: Device | None, tablet_socket: str) -> Denial | None:
    """Why a tablet may not command a device; None: it may."""
    if device is None or not device.is_online:
        return Denial.OFFLINE
    return None if may_control(device, tablet_socket) else Denial.LOCKED


def ignores(device: Device, said_recording: bool | None) -> bool:
    """Whether the headset was told something and, as far as is known, does the opposite.

    ``said_recording``: what it last said itself on this connection, if it did.
    """
    if device.commanded not in _COMMANDS:
        return False
    recording = device.is_recording if said_recording is None else said_recording
    return recording != (device.commanded == Command.START)
