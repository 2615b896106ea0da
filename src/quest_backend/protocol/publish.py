"""The catalogue for people and tools: Markdown, AsyncAPI, JSON Schemas, TypeScript. Pure."""

import json
from typing import Any

from pydantic import TypeAdapter

from quest_backend.protocol.catalogue import DEVICE_TELEMETRY, INBOUND, OUTBOUND
from quest_backend.protocol.errors import MEANING
from quest_backend.protocol.events import SENDERS, Arg, DeviceType, Inbound, Outbound
from quest_backend.protocol.payloads import DeviceTelemetry

Event = Inbound | Outbound
Schema = dict[str, Any]

_ALL: list[Event] = [*INBOUND.values(), *OUTBOUND.values()]

_INTRO = """# Socket events

Generated from `src/quest_backend/protocol/catalogue.py` by `make gen`.

Connect with any Socket.IO v4 client to `http://SERVER:3200`, path `/socket.io/`, WebSocket or
polling. Get a token from `POST /auth/device-token` and send it in the handshake as `auth.token`
(old clients: query `token`). Without a valid token the client gets `connect_error`.

```mermaid
sequenceDiagram
    participant H as Headset
    participant S as Server
    participant T as Tablet
    H->>S: headset-identify (deviceId)
    S-->>H: on-headset-connected
    S-->>T: on-headsets-with-lock-status-updated
    T->>S: tablet-lock-devices ([deviceId])
    S-->>T: on-devices-locked
    T->>S: tablet-create-session
    S-->>T: on-session-created
    T->>S: tablet-start-session (sessionId)
    S-->>H: on-tablet-start-recording
    S-->>T: on-session-started
    H->>S: headset-recording-state (true)
    S-->>T: on-device-recording-changed
    loop preview
        H->>S: headset-frame
        S-->>T: on-headset-frame-updated
    end
    T->>S: tablet-end-session (sessionId)
    S-->>H: on-tablet-stop-recording, on-session-ended
    S-->>T: on-session-ended
```

An event that is refused changes nothing and never disconnects: the client gets
`error {code, message}` or the event's own failure event. Over its rate limit it is dropped; an
acknowledgement, where asked for, says `Rate limited`.
"""


def args_schema(event: Event) -> Schema:
    """JSON Schema 2020-12 of an event's arguments, as the array that Socket.IO sends."""
    items, definitions = [], {}
    for arg in event.args:
        schema = _schema(arg.adapter)
        definitions.update(schema.pop("$defs", {}))
        items.append({"title": arg.name, **schema})
    required = sum(not arg.optional for arg in event.args)
    body: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event.name,
        "description": event.summary,
        "type": "array",
        "minItems": required,
    }
    if items:
        body["prefixItems"] = items
    if definitions:
        body["$defs"] = dict(sorted(definitions.items()))
    return body


def _schema(adapter: TypeAdapter[Any]) -> Schema:
    return adapter.json_schema(ref_template="#/$defs/{model}")


def json_schemas() -> dict[str, Schema]:
    """Schemas of all events' arguments, by event name."""
    return {event.name: args_schema(event) for event in sorted(_ALL, key=lambda e: e.name)}


def asyncapi() -> Schema:
    """The wire as an AsyncAPI 3.0 document, from the server's point of view."""
    messages, operations = {}, {}
    for event in _ALL:
        action = "receive" if isinstance(event, Inbound) else "send"
        payload = {"schemaFormat": "application/schema+json;version=draft-2020-12",
                   "schema": args_schema(event)}  # fmt: skip
        message: Schema = {"name": event.name, "summary": event.summary, "payload": payload}
        operation: Schema = {
            "action": action,
            "channel": {"$ref": "#/channels/socket"},
            "messages": [{"$ref": f"#/channels/socket/messages/{event.name}"}],
            "summary": event.summary,
        }
        if event.deprecated:
            message["x-deprecated"] = f"use {event.deprecated}"
        if isinstance(event, Inbound):
            operation["x-senders"] = sorted(SENDERS[event.role])
            operation["x-rate-limit"] = {"max": event.rate.count, "windowS": event.rate.window_s}
            operation["x-replies"] = [reply.name for reply in event.replies]
            if event.ack is not None:
                operation["x-ack"] = _schema(TypeAdapter(event.ack))
        else:
            operation["x-to"] = event.to
        messages[event.name] = message
        operations[event.name] = operation
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Quest VR Backend",
            "version": "1",
            "description": "Socket.IO v5 events. Payloads are the arrays of positional arguments.",
        },
        "servers": {
            "this": {"host": "localhost:3200", "protocol": "socket.io", "pathname": "/socket.io/"}
        },
        "defaultContentType": "application/json",
        "channels": {"socket": {"address": "/", "messages": messages}},
        "operations": operations,
    }


def events_markdown() -> str:
    """``docs/events.md``."""
    parts = [_INTRO]
    titles = {
        DeviceType.HEADSET: "Headset to server",
        DeviceType.TABLET: "Tablet to server",
        DeviceType.DASHBOARD: "Dashboard (or tablet) to server",
    }
    for role, title in titles.items():
        parts.append(f"## {title}\n")
        parts += [_inbound(event) for event in INBOUND.values() if event.role is role]
    parts.append("## Server to client\n")
    parts += [_outbound(event) for event in OUTBOUND.values()]
    parts.append("## Error codes\n\n| code | meaning |\n|---|---|")
    parts += [f"| `{code}` | {text} |" for code, text in MEANING.items()]
    types = _definitions()
    parts.append("\n## Types\n")
    for name, schema in types.items():
        parts.append(f"### {name}\n\n{schema.get('description', '')}\n")
        parts.append("| field | type | |\n|---|---|---|")
        required = schema.get("required", [])
        for field, sub in schema.get("properties", {}).items():
            optional = "" if field in required else "optional"
            note = ", ".join(filter(None, [optional, _bounds(sub), sub.get("description", "")]))
            parts.append(f"| `{field}` | `{_cell(sub)}` | {note} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _cell(schema: Schema) -> str:
    return _ts(schema).replace("|", "\\|")


def _arguments(args: tuple[Arg, ...]) -> str:
    if not args:
        return "none"
    shown = []
    for arg in args:
        schema = _schema(arg.adapter)
        schema.pop("$defs", None)
        note = ", ".join(filter(None, [_bounds(schema), schema.get("description", "")]))
        text = f"`{arg.name}{'?' if arg.optional else ''}: {_ts(schema)}`"
        shown.append(f"{text} ({note})" if note and "$ref" not in schema else text)
    return ", ".join(shown)


def _inbound(event: Inbound) -> str:
    on_bad = f"`{event.failure.name}`" if event.failure else f"`error {event.invalid}`"
    lines = [f"### `{event.name}`\n", event.summary, ""]
    if event.deprecated:
        lines += [f"**Deprecated**: use {event.deprecated}.", ""]
    lines += [
        f"- payload: {_arguments(event.args)}",
        f"- rate: {event.rate}",
        f"- leads to: {', '.join(f'`{reply.name}`' for reply in event.replies) or 'nothing'}",
    ]
    if event.args:
        lines.append(f"- bad payload: {on_bad}")
    if event.ack is not None:
        lines.append(f"- ack: `{event.ack.__name__}`")
    return "\n".join(lines) + "\n"


def _outbound(event: Outbound) -> str:
    lines = [f"### `{event.name}`\n", event.summary, ""]
    if event.deprecated:
        lines += [f"**Deprecated**: use {event.deprecated}.", ""]
    lines += [f"- payload: {_arguments(event.args)}", f"- to: {event.to}"]
    return "\n".join(lines) + "\n"


def _bounds(schema: Schema) -> str:
    words = {
        "minimum": "≥ {}",
        "maximum": "≤ {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "pattern": "`{}`",
    }
    source = next((s for s in schema.get("anyOf", []) if s.get("type") != "null"), schema)
    return ", ".join(text.format(source[key]) for key, text in words.items() if key in source)


def _definitions() -> dict[str, Schema]:
    """Every named type of the catalogue."""
    found: dict[str, Schema] = {}
    for event in _ALL:
        adapters = [arg.adapter for arg in event.args]
        if isinstance(event, Inbound) and event.ack is not None:
            adapters.append(TypeAdapter(event.ack))
        for adapter in adapters:
            schema = _schema(adapter)
            found.update(schema.pop("$defs", {}))
            if "title" in schema and schema.get("type") == "object":
                found[schema["title"]] = schema
    found["DeviceTelemetry"] = _schema(TypeAdapter(DeviceTelemetry))
    return dict(sorted(found.items()))


def _ts(schema: Schema) -> str:
    """A JSON Schema as a TypeScript type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_ts(option) for option in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        inner = _ts(schema.get("items", {}))
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if kind == "object":
        if "title" in schema and "properties" in schema:
            return str(schema["title"])
        extra = schema.get("additionalProperties")
        return f"Record<string, {_ts(extra) if isinstance(extra, dict) else 'unknown'}>"
    return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean",
            "null": "null"}.get(str(kind), "unknown")  # fmt: skip


def typescript() -> str:
    """Types for ``Socket<ServerToClientEvents, ClientToServerEvents>`` of socket.io-client."""
    lines = ["// Generated from the event catalogue by `make gen`.", ""]
    for name, schema in _definitions().items():
        lines.append(f"/** {schema.get('description', name).splitlines()[0]} */")
        lines.append(f"export interface {name} {{")
        required = schema.get("required", [])
        for field, sub in schema.get("properties", {}).items():
            mark = "" if field in required else "?"
            lines.append(f"  {field}{mark}: {_ts(sub)};")
        if schema.get("additionalProperties") is True:
            lines.append("  [field: string]: unknown;")
        lines += ["}", ""]
    directions: dict[str, list[Event]] = {
        "ClientToServerEvents": list(INBOUND.values()),
        "ServerToClientEvents": list(OUTBOUND.values()),
    }
    for title, events in directions.items():
        lines.append(f"export interface {title} {{")
        for event in events:
            lines.append(f"  /** {event.summary} */")
            lines.append(f'  "{event.name}": ({_ts_arguments(event)}) => void;')
        lines += ["}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _ts_arguments(event: Event) -> str:
    shown = []
    for arg in event.args:
        if arg is DEVICE_TELEMETRY.args[0]:
            shown.append(f"{arg.name}: DeviceTelemetry | string")
            continue
        shown.append(f"{arg.name}{'?' if arg.optional else ''}: {_ts(_schema(arg.adapter))}")
    if isinstance(event, Inbound) and event.ack is not None:
        shown.append(f"ack?: (reply: {event.ack.__name__}) => void")
    return ", ".join(shown)
