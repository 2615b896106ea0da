"""Simulated headsets, tablets and dashboards."""

import asyncio
import json
import random
import time
from typing import Any

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType
from quest_backend.simulator.client import SimulatedClient
from quest_backend.simulator.uploads import Recorder

_TELEMETRY_S = 1.0
# What a headset takes from the command to its first written frame.
_RECORDING_DELAY_S = 0.1


class SimulatedHeadset(SimulatedClient):
    """Streams frames and telemetry, obeys commands, and records on through a lost connection."""

    kind = DeviceType.HEADSET

    def __init__(
        self, url: str, device_id: str, token: str, transports: list[str], *,
        frames: list[str], fps: float, seed: int, encoders: asyncio.Semaphore | None = None,
    ) -> None:  # fmt: skip
        super().__init__(url, device_id, token, transports)
        self.recorder = Recorder(url, device_id, token, encoders) if encoders else None
        self.recording = False
        self.identified = False
        self.frames_sent = 0
        self.commands = 0
        self.battery = 0.55 + 0.45 * random.Random(seed).random()  # noqa: S311 - scenery
        self.frame_count = 0
        self.locked_by = ""
        self._frames = frames
        self._fps = fps
        self._variant = seed % 3
        self._started = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    async def on_connected(self) -> None:
        """Say who it is and whether it records."""
        self.identified = False
        await self.ask(catalogue.HEADSET_IDENTIFY, catalogue.ON_HEADSET_CONNECTED, self.device_id)
        self.identified = True
        await self.send(catalogue.HEADSET_RECORDING_STATE, self.recording)

    async def on_event(self, name: str, _args: tuple[Any, ...]) -> None:
        """Obey."""
        wanted = {
            catalogue.ON_TABLET_START_RECORDING.name: True,
            catalogue.ON_TABLET_STOP_RECORDING.name: False,
            catalogue.ON_TABLET_RECORDING_TOGGLED.name: not self.recording,
        }.get(name)
        if wanted is None:
            return
        self.commands += 1
        await asyncio.sleep(_RECORDING_DELAY_S)
        if self.recorder is not None and wanted != self.recording:
            (self.recorder.begin if wanted else self.recorder.end)()
        self.recording = wanted
        await self.send(catalogue.HEADSET_RECORDING_STATE, wanted)

    def crash(self) -> None:
        """Forget what it was doing, as an app that is started again."""
        self.recording = False
        if self.recorder is not None:
            self.recorder.forget()

    def run(self) -> None:
        """Start streaming."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stream()), loop.create_task(self._report())]

    async def stop(self) -> None:
        """Stop streaming and leave."""
        for task in self._tasks:
            task.cancel()
        if self.recorder is not None:
            await self.recorder.stop()
        await super().stop()

    async def _stream(self) -> None:
        if self._fps <= 0:
            return
        period = 1 / self._fps
        due = time.monotonic() + random.random() * period  # noqa: S311 - spreads the fleet
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + period, time.monotonic())
            if self.identified and self.connected:
                frame = self._frames[self.frames_sent % len(self._frames)]
                await self.send(catalogue.HEADSET_FRAME, frame)
                self.frames_sent += 1

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_TELEMETRY_S * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            self.battery = max(0.05, self.battery - 0.0002)
            if self.recording:
                self.frame_count += int(60 * _TELEMETRY_S)
            if self.identified and self.connected:
                await self.send(catalogue.DEVICE_TELEMETRY, self._encoded(self.telemetry()))

    def _encoded(self, telemetry: dict[str, Any]) -> Any:
        """As apps of three generations send it: object, text, text of text."""
        if self._variant == 0:
            return telemetry
        text = json.dumps(telemetry)
        return text if self._variant == 1 else json.dumps(text)

    def telemetry(self) -> dict[str, Any]:
        """What it says of itself now."""
        running = time.monotonic() - self._started
        tracked = int(running) % 17 != 0
        return {
            "deviceId": self.device_id,
            "deviceName": f"Quest {self.device_id[-4:]}",
            "timestamp": int(time.time() * 1000),
            "batteryLevel": round(self.battery, 4),
            "batteryState": 2,
            "storageUsedBytes": 41_000_000_000 + self.frame_count * 20_000,
            "storageTotalBytes": 128_000_000_000,
            "wifiSignalLevel": -48 - int(running) % 9,
            "wifiSSID": "lab",
            "appVersion": "2.3.0",
            "osVersion": "71.0",
            "sdkVersion": "69.0",
            "leftHandTracked": tracked,
            "rightHandTracked": True,
            "bodyTracked": False,
            "trackingConfidence": 0.97 if tracked else 0.55,
            "isRecording": self.recording,
            "sessionDuration": round(self.frame_count / 60, 1),
            "productiveTime": round(self.frame_count / 60 * 0.9, 1),
            "frameCount": self.frame_count,
            "droppedFrames": self.frame_count // 4000,
            "cpuTemperature": 44.5,
            "gpuTemperature": 46.0,
            "memoryUsedMB": 5200,
            "memoryTotalMB": 8192,
        }


class SimulatedTablet(SimulatedClient):
    """An operator's tablet."""

    kind = DeviceType.TABLET

    def __init__(self, url: str, device_id: str, token: str, transports: list[str]) -> None:
        super().__init__(url, device_id, token, transports)
        self.session_state = "none"
        self.frames = 0
        self.pictures: set[int] = set()
        self.recording: set[str] = set()
        self.locks: dict[str, str] = {}
        self.uploads: dict[tuple[str, str], str] = {}

    async def on_event(self, name: str, args: tuple[Any, ...]) -> None:
        """Look at what comes."""
        if name == catalogue.ON_HEADSET_FRAME_UPDATED.name:
            self.frames += 1
            self.pictures.add(hash(args[0]))
        elif name == catalogue.ON_DEVICE_RECORDING_CHANGED.name:
            change = args[0]
            (self.recording.add if change["isRecording"] else self.recording.discard)(
                change["deviceId"]
            )
        elif name == catalogue.ON_UPLOAD_PROGRESS.name:
            part = args[0]
            self.uploads[part["sessionId"], part["deviceId"]] = part["uploadStatus"]
        elif name == catalogue.ON_DEVICE_LOCKS_UPDATED.name:
            self.locks = {row["deviceId"]: row.get("lockedByTabletId", "") for row in args[0]}


class SimulatedDashboard(SimulatedClient):
    """A dashboard that folds the snapshot and the updates into a picture of the fleet."""

    kind = DeviceType.DASHBOARD

    def __init__(self, url: str, device_id: str, token: str, transports: list[str]) -> None:
        super().__init__(url, device_id, token, transports)
        self.fleet: dict[str, dict[str, Any]] = {}

    async def on_connected(self) -> None:
        """Subscribe."""
        await self.ask(catalogue.DASHBOARD_SUBSCRIBE, catalogue.ON_FLEET_STATUS_UPDATED)

    async def on_event(self, name: str, args: tuple[Any, ...]) -> None:
        """Fold."""
        if name == catalogue.ON_FLEET_STATUS_UPDATED.name:
            self.fleet = {device["deviceId"]: device for device in args[0]}
        elif name == catalogue.ON_DEVICE_TELEMETRY_UPDATED.name:
            self.fleet[args[0]["deviceId"]] = args[0]

    def online(self) -> set[str]:
        """Ids of the devices that are online."""
        return {device_id for device_id, device in self.fleet.items() if device["isOnline"]}
