"""The published documents are valid for their readers and say what the catalogue says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quest_backend.protocol import limits, publish
from quest_backend.protocol.catalogue import INBOUND, OUTBOUND
from quest_backend.protocol.errors import MEANING
from quest_backend.protocol.events import Inbound
from quest_backend.protocol.limits import Rate

HTTP = {"api": Rate(100, 60)}

NODE_MODULES = Path(__file__).parents[2] / "js" / "node_modules"
NODE = Path(sys.executable).parent / "node"
ALL: list[Any] = [*INBOUND.values(), *OUTBOUND.values()]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part]
    return document


class TestAsyncApi:
    def test_official_schema_accepts_it(self) -> None:
        path = NODE_MODULES / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
        assert path.exists(), "run: make test"
        validator = jsonschema.Draft7Validator(json.loads(path.read_text()))
        assert [error.message for error in validator.iter_errors(publish.asyncapi())] == []
        # The schema does look inside: an unknown action is no AsyncAPI.
        broken = publish.asyncapi()
        broken["operations"]["headset-frame"]["action"] = "shout"
        assert not validator.is_valid(broken)

    def test_every_reference_resolves(self) -> None:
        document = publish.asyncapi()
        found = set(references(document))
        assert "#/components/schemas/CreateSession" in found
        for reference in found:
            assert resolve(document, reference)

    def test_payload_schemas_are_valid(self) -> None:
        document = publish.asyncapi()
        for message in document["channels"]["socket"]["messages"].values():
            jsonschema.Draft202012Validator.check_schema(message["payload"]["schema"])

    @pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
    def test_operation_says_what_the_catalogue_says(self, event: Any) -> None:
        operation = publish.asyncapi()["operations"][event.name]
        assert operation["action"] == ("receive" if isinstance(event, Inbound) else "send")
        assert ("x-deprecated" in operation) == bool(event.deprecated)
        if not isinstance(event, Inbound):
            return
        assert event.role in operation["x-role"]
        assert operation["x-rate-limit"]["max"] == event.rate.count
        assert operation["x-rate-limit"]["windowMs"] == event.rate.window_s * 1000
        assert ("x-ack" in operation) == (event.ack is not None)

    def test_orders_of_calls_do_not_change_it(self) -> None:
        assert publish.asyncapi() == publish.asyncapi()


class TestJsonSchemas:
    @pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
    def test_valid_and_closed(self, event: Any) -> None:
        schema = publish.json_schemas()[event.name]
        jsonschema.Draft202012Validator.check_schema(schema)
        for reference in references(schema):
            assert resolve(schema, reference)
        assert len(schema.get("prefixItems", [])) == len(event.args)

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("headset-identify", ["a"], ["a b"]),
            ("headset-identify", ["a"], []),
            ("headset-frame", ["x" * 2**20], ["x" * (2**20 + 1)]),
            ("headset-status", ["x" * 10240], ["x" * 10241]),
            ("device-telemetry", [{"batteryLevel": 1}], [{"batteryLevel": 1.1}]),
            ("device-telemetry", ["{}"], [1]),
            ("headset-recording-state", [True], [1]),
            ("tablet-lock-devices", [["a"]], [["a", ""]]),
            ("tablet-create-session", [{"deviceIds": ["a"]}], [{"deviceIds": []}]),
            ("tablet-sync-metadata", ["{}"], ["{}", "a b"]),
            ("tablet-sync-metadata", ["{}", None], [None]),
            ("on-active-session", [None], ["x"]),
            ("on-device-locked", [{"deviceId": "a"}], [{}]),
        ],
    )
    def test_say_what_is_allowed(self, name: str, good: list[Any], bad: list[Any]) -> None:
        validator = jsonschema.Draft202012Validator(publish.json_schemas()[name])
        assert validator.is_valid(good)
        assert not validator.is_valid(bad)


USE = """
import type { Socket } from "socket.io-client";
import { CLIENT_EVENTS, RATE_LIMITS } from "./events";
import type { ClientToServerEvents, DeviceState, ServerToClientEvents } from "./events";

export function use(socket: Socket<ServerToClientEvents, ClientToServerEvents>): number {
  socket.emit(CLIENT_EVENTS.TABLET_START_RECORDING, "d1", (reply) => {
    const started: boolean = reply.success;
    console.log(started, reply.error?.length);
  });
  socket.emit("tablet-stop-all-recording", (reply) => console.log(reply.stoppedCount));
  socket.emit("tablet-create-session", { deviceIds: ["d1"], metadata: { study: 7 } });
  socket.emit("tablet-sync-metadata", "{}");
  socket.emit("device-telemetry", { batteryLevel: 0.5, extra: [1] });
  socket.on("on-fleet-status-updated", (devices: DeviceState[]) => console.log(devices.length));
  socket.on("on-active-session", (session) => console.log(session?.status === "paused"));
  // @ts-expect-error a device id is text
  socket.emit("headset-identify", 7);
  // @ts-expect-error there is no such event
  socket.emit("headset-identity", "d1");
  // @ts-expect-error there is no such status
  socket.on("on-session-status", (session) => session.status === "over");
  return RATE_LIMITS["headset-frame"].max;
}
"""


class TestTypeScript:
    def test_types_a_socket_of_the_official_client(self, tmp_path: Path) -> None:
        assert (NODE_MODULES / "typescript").exists(), "run: make test"
        (tmp_path / "node_modules").symlink_to(NODE_MODULES)
        (tmp_path / "events.ts").write_text(publish.typescript(HTTP))
        (tmp_path / "use.ts").write_text(USE)
        tsc = NODE_MODULES / "typescript" / "bin" / "tsc"
        done = subprocess.run(
            [NODE, tsc, "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
             "--module", "esnext", "--moduleResolution", "bundler", "use.ts"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def test_acks_and_optional_arguments(self) -> None:
        text = publish.typescript(HTTP)
        for line in (
            '"tablet-start-recording": (deviceId: string, ack?: (reply: RecordingAck) => void) => void;',
            '"tablet-sync-metadata": (data: string, targetDeviceId?: string) => void;',
            '"on-active-session": (session: ActiveSession | null) => void;',
            '"device-telemetry": (telemetry: DeviceTelemetry | string) => void;',
            '"headset-frame": { max: 120, windowMs: 1000 },',
            '"api": { max: 100, windowMs: 60000 },',
        ):
            assert line in text


class TestMarkdown:
    TEXT = publish.events_markdown()

    @pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
    def test_explains_every_event(self, event: Any) -> None:
        section = self.TEXT.split(f"### `{event.name}`\n")[1].split("\n### ")[0]
        assert event.summary in section
        assert ("**Deprecated**" in section) == bool(event.deprecated)
        for arg in event.args:
            assert f"| `{arg.name}` |" in section
        if isinstance(event, Inbound):
            assert f"rate limit: {event.rate}" in section
            assert ("ack:" in section) == (event.ack is not None)
            assert ("on bad payload" in section) == bool(event.args)

    def test_explains_every_error_code(self) -> None:
        for code, meaning in MEANING.items():
            assert f"| `{code}` | {meaning} |" in self.TEXT

    def test_every_link_has_its_heading(self) -> None:
        headings = {
            line.lstrip("# ").strip("`").lower().replace(" ", "-")
            for line in self.TEXT.splitlines()
            if line.startswith("#")
        }
        links = {part.partition(")")[0] for part in self.TEXT.split("](#")[1:]}
        assert links
        assert links - headings == set()

    def test_states_the_bounds(self) -> None:
        for bound in (
            limits.DEVICE_ID_PATTERN,
            f"at most {limits.MAX_FRAME_BYTES:,} characters",
            f"at most {limits.MAX_STATUS_BYTES:,} characters",
            f"at most {limits.MAX_METADATA_BYTES:,} characters",
            f"at most {limits.MAX_SESSION_DEVICES};",
            f"at most {limits.MAX_TELEMETRY_BYTES // 1024} KiB and {limits.MAX_JSON_DEPTH} levels",
        ):
            assert bound in self.TEXT


def test_every_text_ends_with_one_newline() -> None:
    for text in (publish.events_markdown(), publish.typescript(HTTP)):
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
