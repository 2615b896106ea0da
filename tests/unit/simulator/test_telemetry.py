"""What headsets say of themselves is what the schema allows."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import Outbound
from quest_backend.protocol.payloads import DeviceTelemetry
from quest_backend.simulator.devices import SimulatedHeadset


def _headset(seed: int) -> SimulatedHeadset:
    return SimulatedHeadset("http://unused", f"SIMQUEST_{seed % 10_000:04d}", "token",
                            ["websocket"], frames=[""], fps=0, seed=seed)  # fmt: skip


@given(
    seed=st.integers(0, 10**9),
    recording=st.booleans(),
    frames=st.integers(0, 10**7),
    drained=st.floats(0, 1),
)
def test_telemetry_is_always_valid(seed: int, recording: bool, frames: int, drained: float) -> None:
    headset = _headset(seed)
    headset.recording, headset.frame_count = recording, frames
    headset.battery = max(0.05, headset.battery - drained)
    told = headset.telemetry()
    (received,) = catalogue.DEVICE_TELEMETRY.parse([headset._encoded(told)])
    assert received == told
    assert received["isRecording"] is recording
    assert received["frameCount"] == frames


def test_telemetry_has_every_field_of_the_schema() -> None:
    assert set(_headset(1).telemetry()) == set(DeviceTelemetry.model_fields) - {"customName"}


def test_a_fleet_sends_all_three_encodings() -> None:
    sent = [headset._encoded(headset.telemetry()) for headset in map(_headset, range(3))]
    assert isinstance(sent[0], dict)
    assert isinstance(json.loads(sent[1]), dict)
    assert isinstance(json.loads(json.loads(sent[2])), dict)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (catalogue.ON_TABLET_START_RECORDING, False, True),
        (catalogue.ON_TABLET_START_RECORDING, True, True),
        (catalogue.ON_TABLET_STOP_RECORDING, True, False),
        (catalogue.ON_TABLET_STOP_RECORDING, False, False),
        (catalogue.ON_TABLET_RECORDING_TOGGLED, False, True),
        (catalogue.ON_TABLET_RECORDING_TOGGLED, True, False),
    ],
)
async def test_commands_are_obeyed(command: Outbound, before: bool, after: bool) -> None:
    headset = _headset(1)
    headset.recording = before
    async with asyncio.timeout(5):
        await headset.on_event(command.name, ())
    assert headset.recording is after
    assert headset.commands == 1
