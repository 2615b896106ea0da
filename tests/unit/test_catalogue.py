"""The catalogue is the schema's, and the only place where events are named."""

import ast
import json
from pathlib import Path

import jsonschema
import pytest

import quest_backend
from quest_backend.protocol import catalogue, publish
from quest_backend.protocol.errors import MEANING, ErrorCode, InvalidPayload
from quest_backend.protocol.events import Inbound

# The schema's names, typed again here on purpose.
INBOUND = """headset-identify headset-frame headset-status device-telemetry headset-logs-processed
headset-recording-state tablet-lock-device tablet-unlock-device tablet-lock-devices
tablet-unlock-all-devices tablet-start-recording tablet-stop-recording tablet-start-all-recording
tablet-stop-all-recording tablet-toggle-recording tablet-toggle-all-recording tablet-create-session
tablet-start-session tablet-pause-session tablet-end-session tablet-get-session
tablet-get-active-session tablet-connect-headset tablet-disconnect-headset
tablet-get-recording-status tablet-sync-metadata dashboard-subscribe dashboard-unsubscribe"""
# Ours, for clients that ask for it.
OURS = {"on-headset-frame", "on-qa-completed"}
OURS_IN = {"dashboard-watch"}
OUTBOUND = """on-headset-connected on-headset-disconnected on-headset-frame-updated
on-headset-status-updated on-headset-logs-processed on-headset-recording-active
on-headset-recording-inactive on-headsets-updated on-headsets-with-lock-status-updated
on-device-locks-updated on-device-locked on-device-lock-failed on-device-unlocked on-devices-locked
on-all-devices-unlocked on-device-disconnected on-tablet-recording-toggled on-tablet-start-recording
on-tablet-stop-recording on-device-recording-changed on-recording-denied on-recording-toggle-denied
on-session-created on-session-started on-session-paused on-session-ended on-session-error
on-session-status on-active-session on-fleet-status-updated on-device-telemetry-updated
on-tablet-metadata-synced on-recording-active on-recording-inactive on-upload-progress error"""


def test_every_event_of_the_schema_is_there() -> None:
    assert set(catalogue.INBOUND) == set(INBOUND.split()) | OURS_IN
    assert set(catalogue.OUTBOUND) == set(OUTBOUND.split()) | OURS
    assert len(INBOUND.split()) == 28


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("headset-frame", "120 / 1 s"),
        ("headset-status", "10 / 1 s"),
        ("headset-identify", "3 / 5 s"),
        ("headset-recording-state", "5 / 1 s"),
        ("device-telemetry", "5 / 1 s"),
        ("tablet-lock-devices", "5 / 5 s"),
        ("tablet-lock-device", "10 / 2 s"),
        ("tablet-unlock-device", "10 / 2 s"),
        ("tablet-unlock-all-devices", "2 / 5 s"),
        ("tablet-toggle-recording", "5 / 1 s"),
        ("tablet-start-recording", "5 / 1 s"),
        ("tablet-stop-recording", "5 / 1 s"),
        ("tablet-start-all-recording", "3 / 2 s"),
        ("tablet-stop-all-recording", "3 / 2 s"),
        ("tablet-create-session", "3 / 5 s"),
        ("tablet-start-session", "5 / 2 s"),
        ("tablet-pause-session", "5 / 2 s"),
        ("tablet-end-session", "5 / 2 s"),
        ("tablet-get-session", "10 / 1 s"),
        ("tablet-get-active-session", "10 / 1 s"),
        ("dashboard-subscribe", "5 / 5 s"),
        ("dashboard-unsubscribe", "5 / 5 s"),
        ("dashboard-watch", "20 / 5 s"),
        ("tablet-connect-headset", "10 / 2 s"),
        ("tablet-disconnect-headset", "10 / 2 s"),
        ("tablet-get-recording-status", "10 / 1 s"),
        ("tablet-sync-metadata", "5 / 1 s"),
        ("headset-logs-processed", "50 / 1 s"),
    ],
)
def test_rates_are_the_contracts(name: str, rate: str) -> None:
    assert str(catalogue.INBOUND[name].rate) == rate


def test_no_event_is_named_again_in_the_code() -> None:
    names = {*catalogue.INBOUND, *catalogue.OUTBOUND} - {"error"}
    root = Path(quest_backend.__file__).parent
    again = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.name != "catalogue.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert again == []


def test_schemas_are_valid_and_mean_what_parse_means() -> None:
    for name, schema in publish.json_schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        event = catalogue.INBOUND.get(name)
        if event is None:
            continue
        for arguments in ([], ["x"], ["bad id"], [7], [{"deviceIds": ["a"]}], [["a", "b"]], [True]):
            try:
                event.parse(arguments)
            except InvalidPayload:
                continue
            # What the server takes, the published schema allows.
            jsonschema.validate(arguments, schema)


def test_every_reference_of_asyncapi_resolves() -> None:
    document = publish.asyncapi()
    assert set(document["operations"]) == {*catalogue.INBOUND, *catalogue.OUTBOUND}
    for operation in document["operations"].values():
        for reference in (operation["channel"], *operation["messages"]):
            target: object = document
            for part in reference["$ref"].removeprefix("#/").split("/"):
                assert isinstance(target, dict)
                target = target[part]
    json.dumps(document)


def test_every_code_and_event_is_explained() -> None:
    text = publish.events_markdown()
    assert set(MEANING) == set(ErrorCode)
    for name in (*catalogue.INBOUND, *catalogue.OUTBOUND, *ErrorCode):
        assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("event", "good", "bad"),
    [
        (catalogue.HEADSET_IDENTIFY, "x" * 64, "x" * 65),
        (catalogue.HEADSET_IDENTIFY, "A-z_9", "a\n"),
        (catalogue.HEADSET_FRAME, "x" * 2**20, "x" * (2**20 + 1)),
        (catalogue.HEADSET_STATUS, "x" * 10240, "x" * 10241),
        (catalogue.TABLET_SYNC_METADATA, "x" * 102400, "x" * 102401),
        (catalogue.TABLET_START_SESSION, "x" * 100, "x" * 101),
        (catalogue.HEADSET_RECORDING_STATE, True, 1),
        (catalogue.TABLET_LOCK_DEVICES, ["a"], "a"),
        (catalogue.TABLET_CREATE_SESSION, {"deviceIds": ["a"] * 50}, {"deviceIds": ["a"] * 51}),
        (catalogue.DEVICE_TELEMETRY, {"batteryLevel": 1}, {"batteryLevel": True}),
        (catalogue.DEVICE_TELEMETRY, {"wifiSignalLevel": -100}, {"wifiSignalLevel": -100.1}),
        (catalogue.DEVICE_TELEMETRY, {"cpuTemperature": -5}, {"cpuTemperature": float("nan")}),
        (catalogue.DEVICE_TELEMETRY, {"frameCount": 2**53}, {"frameCount": 1e300}),
        (catalogue.DEVICE_TELEMETRY, '"{}"', '"\\"{}\\""'),
        (catalogue.DEVICE_TELEMETRY, {}, None),
    ],
)
def test_bounds(event: Inbound, good: object, bad: object) -> None:
    event.parse([good])
    with pytest.raises(InvalidPayload):
        event.parse([bad])
