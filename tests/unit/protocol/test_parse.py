"""What each event takes and refuses, exactly at its bounds."""

import json
import time
from typing import Any

import pytest

from quest_backend.protocol import limits
from quest_backend.protocol.catalogue import INBOUND
from quest_backend.protocol.errors import ErrorCode, InvalidPayload
from quest_backend.protocol.payloads import CreateSession, DeviceId, SessionId

NAN, INFINITY = float("nan"), float("inf")
SURROGATE = "\ud800"
EURO = "€"  # three bytes of UTF-8

DEVICE_ID_EVENTS = [n for n, e in INBOUND.items() if e.args and e.args[0].type is DeviceId]
SESSION_ID_EVENTS = [n for n, e in INBOUND.items() if e.args and e.args[0].type is SessionId]
WITHOUT_PAYLOAD = [name for name, event in INBOUND.items() if not event.args]
WITH_PAYLOAD = [name for name, event in INBOUND.items() if event.args]


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels, itself the first."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def of_bytes(size: int) -> dict[str, str]:
    """An object whose JSON text is so long."""
    return {"x": "y" * (size - len('{"x":""}'))}


def refuse(name: str, *args: Any) -> InvalidPayload:
    with pytest.raises(InvalidPayload) as refused:
        INBOUND[name].parse(args)
    assert refused.value.code is INBOUND[name].invalid
    str(refused.value).encode()  # the message goes out to the client
    return refused.value


def test_every_event_with_a_payload_is_in_a_table() -> None:
    tables = {name for name, _ in [*GOOD, *BAD]}
    own_class = {"device-telemetry", "tablet-create-session"}
    assert {*DEVICE_ID_EVENTS, *SESSION_ID_EVENTS, *tables, *own_class} == set(WITH_PAYLOAD)
    assert len(DEVICE_ID_EVENTS) == 9
    assert len(SESSION_ID_EVENTS) == 4


@pytest.mark.parametrize("name", DEVICE_ID_EVENTS)
class TestDeviceIds:
    @pytest.mark.parametrize("good", ["a", "QUEST_1-b", "x" * 64])
    def test_are_taken_as_they_are(self, name: str, good: str) -> None:
        assert INBOUND[name].parse([good]) == [good]

    @pytest.mark.parametrize(
        "bad",
        ["", "x" * 65, "a b", "a\n", "a.b", "ä", "a\0", SURROGATE, 1, True, None, NAN, ["a"], {}],
    )
    def test_bad_ones_are_refused(self, name: str, bad: Any) -> None:
        refuse(name, bad)

    def test_a_missing_one_is_refused(self, name: str) -> None:
        refuse(name)


@pytest.mark.parametrize("name", SESSION_ID_EVENTS)
class TestSessionIds:
    @pytest.mark.parametrize("good", ["session_1700000000000_AbC-d_12", "x" * 100])
    def test_are_taken_as_they_are(self, name: str, good: str) -> None:
        assert INBOUND[name].parse([good]) == [good]

    @pytest.mark.parametrize(
        "bad", ["", "x" * 101, "a/b", "a:b", "a\n", SURROGATE, 1, None, [], {}]
    )
    def test_bad_ones_are_refused(self, name: str, bad: Any) -> None:
        refuse(name, bad)


@pytest.mark.parametrize("name", WITHOUT_PAYLOAD)
def test_arguments_of_events_without_payload_are_ignored(name: str) -> None:
    assert INBOUND[name].parse([]) == []
    assert INBOUND[name].parse([None, {"a": SURROGATE}]) == []


GOOD: list[tuple[str, list[Any]]] = [
    ("headset-frame", ["x"]),
    ("headset-frame", [b"\xff\xd8"]),
    ("headset-frame", [b"x" * 1_048_576]),
    ("headset-frame", ["x" * 1_048_576]),
    ("headset-status", [""]),
    ("headset-status", ['{"fps":72}']),
    ("headset-status", ["x" * 10_240]),
    ("headset-status", [EURO * 3413]),
    ("headset-recording-state", [True]),
    ("headset-recording-state", [False]),
    ("tablet-lock-devices", [[]]),
    ("tablet-lock-devices", [["a", "b", "a"]]),
    ("dashboard-watch", [[]]),
    ("dashboard-watch", [["a", "x" * 64]]),
    ("tablet-sync-metadata", ["x" * 102_400, None]),
    ("tablet-sync-metadata", [EURO * 34_133, "x" * 64]),
]


@pytest.mark.parametrize(("name", "args"), GOOD)
def test_good_payloads_come_through_unchanged(name: str, args: list[Any]) -> None:
    assert INBOUND[name].parse(args) == args


def test_an_optional_argument_may_be_left_out() -> None:
    assert INBOUND["tablet-sync-metadata"].parse(["{}"]) == ["{}", None]


def test_further_arguments_are_ignored() -> None:
    assert INBOUND["headset-identify"].parse(["a", {"b": SURROGATE}]) == ["a"]


BAD_BY_EVENT: dict[str, list[Any]] = {
    "headset-frame": [
        "",
        "x" * 1_048_577,
        EURO * 349_526,
        SURROGATE,
        1,
        None,
        ["x"],
        b"",
        b"x" * 1_048_577,
    ],
    "headset-status": [
        "x" * 10_241,
        EURO * 3414,
        SURROGATE,
        SURROGATE * 9999,
        {"fps": 72},
        1,
        None,
    ],
    "headset-recording-state": [1, 0, "true", "", None, NAN, [True], {}],
    "dashboard-watch": ["a", {"a": 1}, ["a", ""], ["a", 1], ["x" * 65], [["a"]], 3, None],
    "tablet-lock-devices": [
        "a",
        {"a": 1},
        ["a", ""],
        ["a", 1],
        ["x" * 65],
        [["a"]],
        [SURROGATE],
        3,
    ],
    "tablet-sync-metadata": ["x" * 102_401, EURO * 34_134, SURROGATE, {"a": 1}, 1, None],
}
BAD: list[tuple[str, list[Any]]] = [(n, [bad]) for n, rows in BAD_BY_EVENT.items() for bad in rows]
BAD_TARGETS: list[Any] = ["", "a b", "x" * 65, 1, ["a"], SURROGATE]
BAD += [("tablet-sync-metadata", ["{}", bad]) for bad in BAD_TARGETS]


@pytest.mark.parametrize(("name", "args"), BAD)
def test_bad_payloads_are_refused(name: str, args: list[Any]) -> None:
    refuse(name, *args)


@pytest.mark.parametrize("name", WITH_PAYLOAD)
@pytest.mark.parametrize(
    "hostile",
    [nested(5000), [nested(5000)], SURROGATE * 300_000, {SURROGATE: 1}, [SURROGATE], NAN, INFINITY],
    ids=["deep", "deep list", "surrogates", "surrogate key", "surrogate list", "NaN", "infinity"],
)
def test_hostile_payloads_are_refused_not_raised(name: str, hostile: Any) -> None:
    refuse(name, hostile)


def test_a_million_bad_ids_are_refused_at_once() -> None:
    """One explanation is made, not a million: it took six seconds of everyone's event loop."""
    ids = ["!"] * 1_000_000
    started = time.perf_counter()
    refuse("tablet-lock-devices", ids)
    assert time.perf_counter() - started < 1


class TestCreateSession:
    @pytest.mark.parametrize(
        "good",
        [
            {"deviceIds": ["a"]},
            {"deviceIds": ["a"] * 50, "metadata": None},
            {"deviceIds": ["x" * 64], "metadata": {}},
            {"deviceIds": ["a"], "metadata": {"participant": "P-07", "notes": ["é", 1.5, None]}},
            {"deviceIds": ["a"], "metadata": of_bytes(limits.MAX_METADATA_BYTES)},
            {"deviceIds": ["a"], "metadata": nested(limits.MAX_JSON_DEPTH)},
        ],
        ids=["one", "fifty", "long id", "metadata", "largest", "deepest"],
    )
    def test_good_requests(self, good: dict[str, Any]) -> None:
        (request,) = INBOUND["tablet-create-session"].parse([{**good, "unknown": 1}])
        assert request == CreateSession(**good)
        assert request.metadata == good.get("metadata")

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            "a",
            ["a"],
            {},
            {"deviceIds": []},
            {"deviceIds": ["a"] * 51},
            {"deviceIds": "a"},
            {"deviceIds": ["x" * 65]},
            {"deviceIds": ["a", None]},
            {"deviceIds": [SURROGATE]},
            {"deviceIds": ["a"], "metadata": "x"},
            {"deviceIds": ["a"], "metadata": []},
            {"deviceIds": ["a"], "metadata": {"x": SURROGATE}},
            {"deviceIds": ["a"], "metadata": {SURROGATE: "x"}},
            {"deviceIds": ["a"], "metadata": of_bytes(limits.MAX_METADATA_BYTES + 1)},
            {"deviceIds": ["a"], "metadata": nested(limits.MAX_JSON_DEPTH + 1)},
            {"deviceIds": ["a"], "metadata": {"a": [[nested(limits.MAX_JSON_DEPTH)]]}},
            {"deviceIds": ["a"], "metadata": nested(5000)},
        ],
    )
    def test_bad_requests(self, bad: Any) -> None:
        refuse("tablet-create-session", bad)


ANY_AMOUNT = [
    "timestamp",
    "storageUsedBytes",
    "storageTotalBytes",
    "sessionDuration",
    "productiveTime",
    "frameCount",
    "droppedFrames",
    "memoryUsedMB",
    "memoryTotalMB",
]
RANGES: list[tuple[str, float, float, float]] = [  # field, lowest, highest, the next step beyond
    ("batteryLevel", 0, 1, 0.0001),
    ("trackingConfidence", 0, 1, 0.0001),
    ("batteryState", 0, 4, 1),
    ("wifiSignalLevel", -100, 0, 0.1),
    *((field, 0, 2**53, 2) for field in ANY_AMOUNT),
]
TEXTS = ["deviceName", "customName", "wifiSSID", "appVersion", "osVersion", "sdkVersion"]
FLAGS = ["leftHandTracked", "rightHandTracked", "bodyTracked", "isRecording"]
NUMBERS = [*(field for field, *_ in RANGES), "cpuTemperature", "gpuTemperature"]


def telemetry(value: Any) -> Any:
    (parsed,) = INBOUND["device-telemetry"].parse([value])
    return parsed


FULL: dict[str, Any] = {
    "deviceId": "QUEST_1",
    "batteryLevel": 0.5,
    "batteryState": 2.0,
    "wifiSignalLevel": -60,
    "isRecording": True,
    "cpuTemperature": -3.5,
    "note": {"kept": ["as", "it", "was", None]},
}


class TestTelemetry:
    @pytest.mark.parametrize("times", [0, 1, 2])
    def test_object_text_and_text_of_text_mean_the_same(self, times: int) -> None:
        value: Any = FULL
        for _ in range(times):
            value = json.dumps(value)
        assert telemetry(value) == FULL

    def test_is_encoded_twice_at_most(self) -> None:
        refuse("device-telemetry", json.dumps(json.dumps(json.dumps(FULL))))

    @pytest.mark.parametrize(("field", "lowest", "highest", "step"), RANGES)
    def test_ranges(self, field: str, lowest: float, highest: float, step: float) -> None:
        assert telemetry({field: lowest}) == {field: lowest}
        assert telemetry({field: highest}) == {field: highest}
        for bad in (lowest - step, highest + step):
            assert field in str(refuse("device-telemetry", {field: bad}))
            refuse("device-telemetry", json.dumps(json.dumps({field: bad})))

    @pytest.mark.parametrize("field", NUMBERS)
    def test_a_number_is_no_bool_text_nan_or_null(self, field: str) -> None:
        not_numbers: list[Any] = [True, False, "0", NAN, INFINITY, -INFINITY, None, [], {}, 10**400]
        for bad in not_numbers:
            refuse("device-telemetry", {field: bad})

    @pytest.mark.parametrize("field", TEXTS)
    def test_texts(self, field: str) -> None:
        assert telemetry({field: "é" * 256}) == {field: "é" * 256}
        for bad in ("x" * 257, 1, True, ["x"], SURROGATE):
            refuse("device-telemetry", {field: bad})

    @pytest.mark.parametrize("field", FLAGS)
    def test_flags(self, field: str) -> None:
        assert telemetry({field: False}) == {field: False}
        for bad in (0, 1, "true", None, NAN):
            refuse("device-telemetry", {field: bad})

    @pytest.mark.parametrize("bad", [2.5, 0.1])
    def test_battery_state_is_whole(self, bad: float) -> None:
        refuse("device-telemetry", {"batteryState": bad})

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            1,
            True,
            [],
            "",
            "1",
            "null",
            "[]",
            '""',
            "{",
            '{"batteryLevel":NaN}',
            '{"x":Infinity}',
            '{"x":"\\ud800"}',
            '"{\\"x\\":\\"\\\\ud800\\"}"',
            SURROGATE,
            {"x": SURROGATE},
            {SURROGATE: 1},
            {1: 2},
            {"deviceId": "a b"},
            {"deviceId": 1},
            "[" * 60_000,
            '{"a":' * 10_000,
        ],
        ids=ascii,
    )
    def test_what_is_no_telemetry(self, bad: Any) -> None:
        assert refuse("device-telemetry", bad).code is ErrorCode.INVALID_TELEMETRY

    @pytest.mark.parametrize("encode", [lambda value: value, json.dumps], ids=["object", "text"])
    def test_size_and_depth(self, encode: Any) -> None:
        # A text counts as it is sent; json.dumps puts a space after the colon.
        spaces = 0 if encode is not json.dumps else 1
        largest = of_bytes(limits.MAX_TELEMETRY_BYTES - spaces)
        assert telemetry(encode(largest)) == largest
        refuse("device-telemetry", encode({"x": largest["x"] + "y"}))
        deepest = nested(limits.MAX_JSON_DEPTH)
        assert telemetry(encode(deepest)) == deepest
        refuse("device-telemetry", encode({"a": deepest}))
