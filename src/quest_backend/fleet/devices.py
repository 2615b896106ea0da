"""The fleet as one node sees it: a projection of what the state store committed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quest_backend.protocol.payloads import DeviceLockStatus, DeviceState, HeadsetListInfo


@dataclass(frozen=True, slots=True)
class Device:
    """One device as committed. ``revision`` orders commits over the whole fleet.

    Times are ISO 8601 UTC text, which sorts by time.
    """

    device_id: str
    revision: int = 0
    socket_id: str = ""
    node_id: str = ""
    is_online: bool = False
    last_seen: str = ""
    connection_time: str = ""
    locked_by: str = ""
    locked_at: str = ""
    is_recording: bool = False
    commanded: str = ""
    session_id: str = ""
    custom_name: str = ""


class FleetView:
    """Devices, their telemetry and names; what lists, dashboards and gauges are made of.

    ``version`` grows with every change of what the lists show.
    """

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.telemetry: dict[str, dict[str, Any]] = {}
        self.version = 0

    def apply(self, device: Device, *, force: bool = False) -> bool:
        """Take a committed device over, unless something newer is known. True if it was news.

        With ``force`` also an older one: the store lost what was known.
        """
        known = self.devices.get(device.device_id)
        if known is not None:
            if device.revision <= known.revision and not force:
                return False
            # Telemetry moves lastSeen here before it is written behind.
            device = replace(device, last_seen=max(known.last_seen, device.last_seen))
        self.devices[device.device_id] = device
        if known is None or _listed(known) != _listed(device):
            self.version += 1
        return True

    def seen(
        self, device_id: str, at: str, telemetry: dict[str, Any] | None = None
    ) -> Device | None:
        """Note activity of a known device, with new telemetry if there is."""
        known = self.devices.get(device_id)
        if known is None:
            return None
        if telemetry is not None:
            self.telemetry[device_id] = telemetry
        self.devices[device_id] = device = replace(known, last_seen=max(known.last_seen, at))
        return device

    def remove(self, device_ids: Iterable[str]) -> None:
        """Devices that left the fleet."""
        for device_id in device_ids:
            self.telemetry.pop(device_id, None)
            if self.devices.pop(device_id, None) is not None:
                self.version += 1

    def state(self, device_id: str) -> DeviceState:
        """The device as dashboards and REST see it. ``KeyError`` when it is not of the fleet."""
        device = self.devices[device_id]
        telemetry = self.telemetry.get(device_id)
        if telemetry is not None and device.custom_name:
            telemetry = {**telemetry, "customName": device.custom_name}
        state: DeviceState = {
            "deviceId": device.device_id,
            "socketId": device.socket_id,
            "isOnline": device.is_online,
            "lastSeen": device.last_seen,
            "connectionTime": device.connection_time,
            "telemetry": telemetry,
            "isLocked": bool(device.locked_by),
            "isRecording": device.is_online and device.is_recording,
            "customName": self.name(device_id),
        }
        if device.locked_by:
            state["lockedByTabletId"] = device.locked_by
            state["lockedAt"] = device.locked_at
        return state

    def name(self, device_id: str) -> str:
        """The name people gave the device; what it calls itself; or its id."""
        device = self.devices.get(device_id)
        if device is not None and device.custom_name:
            return device.custom_name
        telemetry = self.telemetry.get(device_id) or {}
        return telemetry.get("customName") or telemetry.get("deviceName") or device_id

    def snapshot(self) -> list[DeviceState]:
        """The whole fleet, by device id."""
        return [self.state(device_id) for device_id in sorted(self.devices)]

    def online(self) -> list[Device]:
        """Devices that are connected, by device id."""
        return [d for _, d in sorted(self.devices.items()) if d.is_online]

    def headset_list(self) -> list[HeadsetListInfo]:
        """What ``on-headsets-with-lock-status-updated`` carries."""
        rows: list[HeadsetListInfo] = []
        for device in self.online():
            row: HeadsetListInfo = {
                "deviceId": device.device_id,
                "isLocked": bool(device.locked_by),
                "customName": self.name(device.device_id),
            }
            if device.locked_by:
                row["lockedByTabletId"] = device.locked_by
            rows.append(row)
        return rows

    def lock_list(self) -> list[DeviceLockStatus]:
        """What ``on-device-locks-updated`` carries: online devices, and offline ones still held."""
        rows: list[DeviceLockStatus] = []
        for _, device in sorted(self.devices.items()):
            if not device.is_online and not device.locked_by:
                continue
            row: DeviceLockStatus = {
                "deviceId": device.device_id,
                "isLocked": bool(device.locked_by),
            }
            if device.locked_by:
                row["lockedByTabletId"] = device.locked_by
            rows.append(row)
        return rows


def _listed(device: Device) -> tuple[bool, str, str]:
    return device.is_online, device.locked_by, device.custom_name


def summary(view: FleetView, low_battery: float) -> Mapping[str, Any]:
    """Schema ``FleetSummary``. Battery levels are 0..1; the average is over known ones."""
    online = view.online()
    levels = [t["batteryLevel"] for t in view.telemetry.values() if "batteryLevel" in t]
    return {
        "totalDevices": len(view.devices),
        "onlineDevices": len(online),
        "offlineDevices": len(view.devices) - len(online),
        "recordingDevices": sum(device.is_recording for device in online),
        "lowBatteryDevices": len(low_battery_ids(view, low_battery)),
        "lockedDevices": sum(bool(d.locked_by) for d in view.devices.values()),
        "avgBatteryLevel": sum(levels) / len(levels) if levels else 0,
        "totalProductiveTime": sum(t.get("productiveTime", 0) for t in view.telemetry.values()),
        "appVersions": sorted(
            {t["appVersion"] for t in view.telemetry.values() if t.get("appVersion")}
        ),
    }


def low_battery_ids(view: FleetView, low_battery: float) -> list[str]:
    """Online devices whose battery is known to be below ``low_battery`` (0..1)."""
    return [
        device.device_id
        for device in view.online()
        if view.telemetry.get(device.device_id, {}).get("batteryLevel", 1.0) < low_battery
    ]
