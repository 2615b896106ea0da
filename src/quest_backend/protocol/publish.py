"""The catalogue for people and tools: Markdown, AsyncAPI, JSON Schemas, TypeScript. Pure.

Four printers in one file: they share one reading of the types, ``_schema``.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from quest_backend.protocol import catalogue as c
from quest_backend.protocol.catalogue import INBOUND, OUTBOUND
from quest_backend.protocol.errors import MEANING, ErrorCode
from quest_backend.protocol.events import SENDERS, DeviceType, Inbound, Outbound
from quest_backend.protocol.limits import Rate

Event = Inbound | Outbound
Schema = dict[str, Any]

_ALL: list[Event] = [*INBOUND.values(), *OUTBOUND.values()]
_DEFS = "#/$defs/"
_COMPONENTS = "#/components/schemas/"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_MULTI_FORMAT = "application/schema+json;version=draft-2020-12"

# A lock and a recording session; who says what to whom, and a word on the payload.
_STORY: list[tuple[str, Event | None, str]] = [
    ("H->>S", c.HEADSET_IDENTIFY, "deviceId"),
    ("S-->>H", c.ON_HEADSET_CONNECTED, ""),
    ("S-->>T", c.ON_HEADSETS_WITH_LOCK_STATUS_UPDATED, "all that are online"),
    ("T->>S", c.TABLET_LOCK_DEVICES, "[deviceId]"),
    ("S-->>T", c.ON_DEVICES_LOCKED, "locked, failed"),
    ("T->>S", c.TABLET_CREATE_SESSION, "deviceIds, metadata"),
    ("S-->>T", c.ON_SESSION_CREATED, "sessionId"),
    ("T->>S", c.TABLET_START_SESSION, "sessionId"),
    ("S-->>H", c.ON_TABLET_START_RECORDING, ""),
    ("S-->>T", c.ON_SESSION_STARTED, "sessionId, startedAt"),
    ("H->>S", c.HEADSET_RECORDING_STATE, "true"),
    ("S-->>T", c.ON_DEVICE_RECORDING_CHANGED, "deviceId, true"),
    ("loop preview and telemetry", None, ""),
    ("H->>S", c.HEADSET_FRAME, "base64 JPEG"),
    ("S-->>T", c.ON_HEADSET_FRAME_UPDATED, "the newest"),
    ("H->>S", c.DEVICE_TELEMETRY, "battery, tracking, frameCount …"),
    ("end", None, ""),
    ("T->>S", c.TABLET_END_SESSION, "sessionId"),
    ("S-->>H", c.ON_TABLET_STOP_RECORDING, ""),
    ("S-->>H", c.ON_SESSION_ENDED, "sessionId"),
    ("S-->>T", c.ON_SESSION_ENDED, "sessionId, endedAt, duration"),
    ("T->>S", c.TABLET_UNLOCK_ALL_DEVICES, ""),
    ("S-->>T", c.ON_ALL_DEVICES_UNLOCKED, "unlocked"),
]

_INTRO = f"""# Socket events

What headsets (Unity), tablets and dashboards say to the server, and what it says to them.
Generated from `src/quest_backend/protocol/catalogue.py` by `make gen`; the same as
[TypeScript](generated/events.ts), [JSON Schemas](generated/schemas.json) and
[AsyncAPI](generated/asyncapi.json).

## A session from lock to end

```mermaid
sequenceDiagram
    participant H as Headset
    participant S as Server
    participant T as Tablet
%STORY%
```

## Connecting

- Any Socket.IO v4 client (Engine.IO 4), `http://SERVER:3200`, path `/socket.io/`, namespace `/`,
  WebSocket or polling.
- A token, valid for 24 hours: `POST /auth/device-token` with
  `{{"deviceId": "QUEST_0001", "deviceType": "headset"}}` (`headset`, `tablet` or `dashboard`), and
  the header `X-Enrollment-Key` where the server has such a key.
- The token goes into the handshake as `auth.token`, or as the query `token` for clients that
  cannot. Without a valid one the client gets `connect_error` (unless the server runs with
  `SOCKET_AUTH=optional`, where it counts as a tablet).
- On every connect, the first one and each one after, a headset sends `{c.HEADSET_IDENTIFY.name}`.
  A tablet that comes back within `TABLET_GRACE_SECONDS` has its locks and its session again.

```csharp
// Unity, with SocketIOUnity
var socket = new SocketIOUnity(new Uri("http://SERVER:3200"), new SocketIOOptions {{
    Query = new Dictionary<string, string> {{ {{ "token", token }} }},
    Transport = SocketIOClient.Transport.TransportProtocol.WebSocket
}});
socket.OnConnected += (sender, e) => socket.Emit("{c.HEADSET_IDENTIFY.name}", deviceId);
socket.OnUnityThread("{c.ON_TABLET_START_RECORDING.name}", response => StartRecording());
socket.OnUnityThread("{c.ERROR.name}", response => Debug.LogWarning(response));
socket.Connect();
```

```ts
// TypeScript, with socket.io-client and generated/events.ts
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, {{ auth: {{ token }} }});
socket.emit("{c.TABLET_START_RECORDING.name}", deviceId, (reply) => console.log(reply.success));
```

## Rules for all events

- **Who.** A token may send the events of its own device type; a tablet those of a dashboard too.
  Anything else gets `{c.ERROR.name}` with `{ErrorCode.FORBIDDEN}`. A headset speaks only for the
  device id of its token.
- **Bad payloads** change nothing and never disconnect. The client gets
  `{c.ERROR.name} {{code, message}}`, or the event's own failure event where one is named below.
- **Rates** are per connection and event. What is over the limit is dropped. The server's
  `RATE_LIMIT_MULTIPLIER` scales all limits.
- **Acks.** Where an ack type is named, pass a callback to get it. A refused event answers
  `{{success: false, error}}`, over the limit with the error `Rate limited`.
- Payloads are positional arguments. Further arguments, and unknown fields of objects, are no error.
- Times from the server are ISO 8601 in UTC with milliseconds and `Z`.
"""


# --- schemas ----------------------------------------------------------------------------------


def _schema(of: Any) -> tuple[Schema, dict[str, Schema]]:
    """A type's schema, with every object type by reference, and these objects by name."""
    adapter = of if isinstance(of, TypeAdapter) else TypeAdapter(of)
    schema = adapter.json_schema(ref_template=_DEFS + "{model}")
    definitions: dict[str, Schema] = schema.pop("$defs", {})
    if "properties" in schema:
        definitions[schema["title"]] = schema
        schema = {"$ref": _DEFS + schema["title"]}
    return schema, definitions


def args_schema(event: Event) -> Schema:
    """JSON Schema 2020-12 of an event's arguments, as the array that Socket.IO sends."""
    items: list[Schema] = []
    definitions: dict[str, Schema] = {}
    for arg in event.args:
        schema, named = _schema(arg.adapter)
        definitions |= named
        if arg.optional:
            schema = {"anyOf": [schema, {"type": "null"}]}
        items.append({**schema, "title": arg.name})
    body: Schema = {
        "$schema": _DRAFT,
        "title": event.name,
        "description": event.summary,
        "type": "array",
        "minItems": sum(not arg.optional for arg in event.args),
    }
    if items:
        body["prefixItems"] = items
    if event.deprecated:
        body["deprecated"] = True
    if definitions:
        body["$defs"] = dict(sorted(definitions.items()))
    return body


def json_schemas() -> dict[str, Schema]:
    """Schemas of all events' arguments, by event name."""
    return {event.name: args_schema(event) for event in sorted(_ALL, key=lambda e: e.name)}


def _definitions() -> dict[str, Schema]:
    """Every object type of the catalogue, by name."""
    found: dict[str, Schema] = {}
    for event in _ALL:
        for arg in event.args:
            found |= _schema(arg.adapter)[1]
        if isinstance(event, Inbound) and event.ack is not None:
            found |= _schema(event.ack)[1]
    return dict(sorted(found.items()))


# --- AsyncAPI ---------------------------------------------------------------------------------


def _at_components(value: Any) -> Any:
    """The same schema with its references into an AsyncAPI document's components."""
    if isinstance(value, dict):
        return {
            key: inner.replace(_DEFS, _COMPONENTS) if key == "$ref" else _at_components(inner)
            for key, inner in value.items()
            if key != "$defs"
        }
    return [_at_components(inner) for inner in value] if isinstance(value, list) else value


def _operation(event: Event) -> Schema:
    operation: Schema = {
        "action": "receive" if isinstance(event, Inbound) else "send",
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{event.name}"}],
        "summary": event.summary,
    }
    if event.deprecated:
        operation["x-deprecated"] = f"use {event.deprecated}"
    if isinstance(event, Outbound):
        return operation | {"x-to": event.to}
    operation |= {
        "x-role": sorted(role.value for role in SENDERS[event.role]),
        "x-rate-limit": {"max": event.rate.count, "windowMs": _window_ms(event.rate)},
        "x-replies": [reply.name for reply in event.replies],
        "x-on-bad-payload": event.failure.name if event.failure else event.invalid.value,
    }
    if event.ack is not None:
        operation["x-ack"] = _at_components(_schema(event.ack)[0])
    return operation


def _window_ms(rate: Rate) -> int:
    return round(rate.window_s * 1000)


def asyncapi() -> Schema:
    """The wire as an AsyncAPI 3.0 document, from the server's point of view."""
    messages = {
        event.name: {
            "name": event.name,
            "summary": event.summary,
            "payload": {
                "schemaFormat": _MULTI_FORMAT,
                "schema": _at_components(args_schema(event)),
            },
        }
        for event in _ALL
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Quest VR Backend",
            "version": "1",
            "description": "Socket.IO v5 events. Payloads are the arrays of positional arguments; "
            "`x-ack` is the type of the acknowledgement.",
        },
        "servers": {
            "socket": {
                "host": "localhost:3200",
                "protocol": "ws",
                "pathname": "/socket.io/",
                "description": "Socket.IO over WebSocket or polling.",
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "defaultContentType": "application/json",
        "channels": {"socket": {"address": "/", "messages": messages}},
        "operations": {event.name: _operation(event) for event in _ALL},
        "components": {
            "schemas": _at_components(_definitions()),
            "securitySchemes": {
                "token": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "token",
                    "description": "Or `auth.token` of the handshake. From /auth/device-token.",
                }
            },
        },
    }


# --- Markdown ---------------------------------------------------------------------------------


def events_markdown() -> str:
    """``docs/events.md``."""
    parts = [_INTRO.replace("%STORY%", _story())]
    titles = {
        DeviceType.HEADSET: "Headset to server",
        DeviceType.TABLET: "Tablet to server",
        DeviceType.DASHBOARD: "Dashboard or tablet to server",
    }
    for role, title in titles.items():
        parts.append(f"## {title}\n")
        parts += [_inbound(event) for event in INBOUND.values() if event.role is role]
    parts.append("## Server to client\n")
    parts += [_outbound(event) for event in OUTBOUND.values()]
    parts.append("## Error codes\n")
    parts.append(
        _table(["code", "meaning"], [[f"`{code}`", text] for code, text in MEANING.items()])
    )
    parts.append("## Types\n")
    parts += [_type(name, schema) for name, schema in _definitions().items()]
    return "\n".join(parts).rstrip() + "\n"


def _story() -> str:
    lines = []
    for step, event, note in _STORY:
        said = f": {event.name}{f' ({note})' if note else ''}" if event else ""
        lines.append(f"    {step}{said}")
    return "\n".join(lines)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _event(event: Event, facts: list[str]) -> str:
    lines = [f"### `{event.name}`\n", event.summary, ""]
    if event.deprecated:
        lines += [f"**Deprecated**: use {event.deprecated}.", ""]
    if event.args:
        rows = []
        for arg in event.args:
            schema, _ = _schema(arg.adapter)
            rows.append([f"`{arg.name}`", _shown(schema), _notes(schema, not arg.optional)])
        lines.append(_table(["argument", "type", "bounds and notes"], rows))
    else:
        facts = ["payload: none", *facts]
    return "\n".join(lines + [f"- {fact}" for fact in facts]) + "\n"


def _inbound(event: Inbound) -> str:
    senders = " or ".join(sorted(role.value for role in SENDERS[event.role]))
    facts = [f"who: {senders}", f"rate limit: {event.rate}"]
    facts.append("leads to: " + (", ".join(map(_link, event.replies)) or "nothing"))
    if event.ack is not None:
        facts.append(f"ack: {_shown(_schema(event.ack)[0])}")
    if event.failure is not None:
        facts.append(f"on bad payload: {_link(event.failure)}")
    elif event.args:
        facts.append(f"on bad payload: {_link(c.ERROR)} with `{event.invalid}`")
    return _event(event, facts)


def _outbound(event: Outbound) -> str:
    return _event(event, [f"to: {event.to}"])


def _link(event: Event) -> str:
    return f"[`{event.name}`](#{event.name})"


def _type(name: str, schema: Schema) -> str:
    required = schema.get("required", [])
    rows = [
        [f"`{field}`", _shown(sub), _notes(sub, field in required)]
        for field, sub in schema["properties"].items()
    ]
    if schema.get("additionalProperties") is True:
        rows.append(["any other", "`unknown`", "kept and passed on"])
    table = _table(["field", "type", "bounds and notes"], rows)
    return f"### {name}\n\n{schema['description'].replace('``', '`')}\n\n{table}"


def _shown(schema: Schema) -> str:
    """A type for a table cell, linked to the first object type it names."""
    text = f"`{_ts(schema)}`".replace("|", "\\|")
    at = json.dumps(schema).partition(_DEFS)[2].partition('"')[0]
    return f"[{text}](#{at.lower()})" if at else text


def _notes(schema: Schema, required: bool) -> str:
    notes = [] if required else ["optional"]
    source = next((s for s in schema.get("anyOf", []) if s.get("type") != "null"), schema)
    notes += _bounds(source)
    notes += [f"each {bound}" for bound in _bounds(source.get("items", {}))]
    notes.append(schema.get("description", ""))
    return "; ".join(filter(None, notes))


def _bounds(schema: Schema) -> list[str]:
    words = {
        "minimum": "≥ {}",
        "maximum": "≤ {}",
        "multipleOf": "in steps of {}",
        "minLength": "{} or more characters",
        "maxLength": "at most {} characters",
        "minItems": "{} or more",
        "maxItems": "at most {}",
        "pattern": "`{}`",
    }
    return [text.format(_number(schema[key])) for key, text in words.items() if key in schema]


def _number(value: Any) -> str:
    if value == 2**53:
        return "2^53"
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- TypeScript -------------------------------------------------------------------------------


def typescript(http_limits: Mapping[str, Rate]) -> str:
    """Types for ``Socket<ServerToClientEvents, ClientToServerEvents>`` of socket.io-client.

    Args:
        http_limits: of each group of paths, for people to read.
    """
    lines = ["// Generated from the event catalogue by `make gen`.", ""]
    lines += [
        f"export type ErrorCode = {' | '.join(json.dumps(str(code)) for code in MEANING)};",
        "",
    ]
    for name, schema in _definitions().items():
        lines += [*_comment(schema.get("description", name), 0), f"export interface {name} {{"]
        for field, sub in schema["properties"].items():
            mark = "" if field in schema.get("required", []) else "?"
            if notes := _notes(sub, required=True):
                lines += _comment(notes, 2)
            lines.append(f"  {field}{mark}: {_ts(sub)};")
        if schema.get("additionalProperties") is True:
            lines.append("  [field: string]: unknown;")
        lines += ["}", ""]
    lines += _ts_events("ClientToServerEvents", list(INBOUND.values()))
    lines += _ts_events("ServerToClientEvents", list(OUTBOUND.values()))
    for constant, of in (("CLIENT_EVENTS", INBOUND), ("SERVER_EVENTS", OUTBOUND)):
        lines.append(f"export const {constant} = {{")
        lines += [f'  {name.upper().replace("-", "_")}: "{name}",' for name in of]
        lines += ["} as const;", ""]
    lines += ["/** At most `max` in any window of `windowMs`, per connection and event. */"]
    events = {event.name: event.rate for event in INBOUND.values()}
    lines += [*_ts_limits("RATE_LIMITS", "keyof ClientToServerEvents", events), ""]
    lines += ["/** The same per client address, of groups of HTTP paths. */"]
    lines += _ts_limits("HTTP_RATE_LIMITS", "string", dict(sorted(http_limits.items())))
    return "\n".join(lines) + "\n"


def _ts_limits(constant: str, key: str, limits: Mapping[str, Rate]) -> list[str]:
    of = f"Record<{key}, {{ max: number; windowMs: number }}>"
    return [
        f"export const {constant}: {of} = {{",
        *(
            f'  "{name}": {{ max: {rate.count}, windowMs: {_window_ms(rate)} }},'
            for name, rate in limits.items()
        ),
        "};",
    ]


def _comment(text: str, indent: int) -> list[str]:
    plain = " ".join(text.split()).replace("``", "`").replace("*/", "* /")
    return [f"{' ' * indent}/** {plain} */"]


def _ts_events(title: str, events: list[Event]) -> list[str]:
    lines = [f"export interface {title} {{"]
    for event in events:
        deprecated = f" @deprecated use {event.deprecated}" if event.deprecated else ""
        lines += _comment(event.summary + deprecated, 2)
        shown = [
            f"{arg.name}{'?' if arg.optional else ''}: {_ts(_schema(arg.adapter)[0])}"
            for arg in event.args
        ]
        if isinstance(event, Inbound) and event.ack is not None:
            shown.append(f"ack?: (reply: {_ts(_schema(event.ack)[0])}) => void")
        lines.append(f'  "{event.name}": ({", ".join(shown)}) => void;')
    return [*lines, "}", ""]


def _ts(schema: Schema) -> str:
    """A JSON Schema as a TypeScript type."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_DEFS)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_ts(option) for option in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        inner = _ts(schema.get("items", {}))
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if kind == "object":
        extra = schema.get("additionalProperties")
        return f"Record<string, {_ts(extra) if isinstance(extra, dict) else 'unknown'}>"
    plain = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}
    return "null" if kind == "null" else plain.get(str(kind), "unknown")
