"""Packets: Engine.IO v4 around Socket.IO v5, read and written. Nothing here does I/O."""

import base64
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from quest_backend.sockets.websocket import header

SEPARATOR = "\x1e"
MAX_ATTACHMENTS = 8
# Numbers of acknowledgements; the official clients count up from 0.
_MAX_ACK_DIGITS = 15


class Malformed(ValueError):  # noqa: N818 - it is the client's, not ours
    """Bytes that are no packet; the message says why."""


class Kind(IntEnum):
    """Socket.IO packet types."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


@dataclass(slots=True)
class Received:
    """A Socket.IO packet as it came; ``attachments`` binary messages follow it."""

    kind: Kind
    namespace: str
    ack_id: int | None
    data: Any
    attachments: int = 0


class Outgoing:
    """What goes to any number of sockets: encoded once for each transport that needs it.

    ``text`` is an Engine.IO packet, type digit included, in any number of parts; ``attachments``
    follow it as binary messages. ``frames``, if it is known, is all of it as a server's frames.
    """

    __slots__ = ("_frames", "_payload", "_text", "attachments")

    def __init__(
        self,
        *text: bytes | memoryview,
        attachments: tuple[bytes, ...] = (),
        frames: bytes | None = None,
    ) -> None:
        # In parts, joined once: the hot path copies a frame's bytes no more than it must.
        self._text = text
        self.attachments = attachments
        self._frames = frames
        self._payload: str | None = None

    @property
    def size(self) -> int:
        """Bytes, without framing."""
        return sum(map(len, self._text)) + sum(map(len, self.attachments))

    @property
    def text(self) -> bytes:
        """The packet."""
        return b"".join(self._text)

    @property
    def frames(self) -> bytes:
        """As WebSocket frames of a server."""
        if self._frames is None:
            parts: list[bytes | memoryview] = []
            if self._text:
                parts += [header(1, sum(map(len, self._text))), *self._text]
            for data in self.attachments:
                parts += [header(2, len(data)), data]
            self._frames = b"".join(parts)
        return self._frames

    @property
    def payload(self) -> str:
        """As part of a polling body."""
        if self._payload is None:
            binary = ["b" + base64.b64encode(data).decode() for data in self.attachments]
            head = [self.text.decode()] if self._text else []
            self._payload = SEPARATOR.join(head + binary)
        return self._payload

    def messages(self) -> list[str | bytes]:
        """As WebSocket messages."""
        head: list[str | bytes] = [self.text.decode()] if self._text else []
        return [*head, *self.attachments]


def event(name: str, *args: Any, namespace: str = "/") -> Outgoing:
    """An event; ``bytes`` among the arguments go as attachments."""
    return _with_attachments(Kind.EVENT, namespace, "", [name, *args])


def acknowledgement(ack_id: int, args: list[Any], namespace: str = "/") -> Outgoing:
    """The answer to an event that asked for one."""
    return _with_attachments(Kind.ACK, namespace, str(ack_id), args)


def plain(kind: Kind, data: Any = None, namespace: str = "/") -> Outgoing:
    """CONNECT, CONNECT_ERROR or DISCONNECT."""
    body = b"" if data is None else orjson.dumps(data)
    return Outgoing(b"4%d%s%s" % (kind, _prefix(namespace), body))


def _with_attachments(kind: Kind, namespace: str, ack: str, data: list[Any]) -> Outgoing:
    head, attachments = f"4{kind:d}", list[bytes]()
    try:
        body = orjson.dumps(data)
    except TypeError:  # bytes, mostly
        body = orjson.dumps(_without_bytes(data, attachments))
        head = f"4{kind + 3:d}{len(attachments)}-"
    text = head.encode() + _prefix(namespace) + ack.encode() + body
    return Outgoing(text, attachments=tuple(attachments))


def _prefix(namespace: str) -> bytes:
    return b"" if namespace == "/" else namespace.encode() + b","


def _without_bytes(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _without_bytes(one, attachments) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_bytes(one, attachments) for one in value]
    return value


def read(packet: bytes) -> Received:
    """A Socket.IO packet (without Engine.IO's type digit).

    Raises:
        Malformed: unknown type, no JSON, or not the form that the type has.
    """
    digit = packet[:1]
    if digit not in (b"0", b"1", b"2", b"3", b"4", b"5", b"6"):
        raise Malformed("not a Socket.IO packet")
    kind, at, attachments = Kind(int(digit)), 1, 0
    if kind in (Kind.BINARY_EVENT, Kind.BINARY_ACK):
        dash = packet.find(b"-", 1, 12)
        if dash < 0 or not packet[1:dash].isdigit():
            raise Malformed("no number of attachments")
        attachments, at = int(packet[1:dash]), dash + 1
    namespace = "/"
    if packet[at : at + 1] == b"/":
        comma = packet.find(b",", at)
        end = len(packet) if comma < 0 else comma
        # Old clients put a query behind the name.
        namespace = packet[at : min(end, at + 256)].decode("utf-8", "replace").partition("?")[0]
        at = end + 1
    start = at
    while packet[at : at + 1].isdigit():
        at += 1
    if at - start > _MAX_ACK_DIGITS:
        raise Malformed("acknowledgement number too large")
    ack_id = int(packet[start:at]) if at > start else None
    return Received(kind, namespace, ack_id, _data(kind, packet[at:]), attachments)


def _data(kind: Kind, body: bytes) -> Any:
    try:
        data = orjson.loads(body) if body else None
    except orjson.JSONDecodeError as error:
        raise Malformed("not JSON") from error
    if kind in (Kind.EVENT, Kind.BINARY_EVENT):
        if not (isinstance(data, list) and data and isinstance(data[0], str)):
            raise Malformed("not an event: [name, ...arguments]")
    elif kind in (Kind.ACK, Kind.BINARY_ACK):
        if not isinstance(data, list):
            raise Malformed("not an acknowledgement: [...arguments]")
    elif kind is Kind.CONNECT and not isinstance(data, dict | None):
        raise Malformed("not a handshake: {...auth}")
    elif kind is Kind.DISCONNECT and data is not None:
        raise Malformed("a DISCONNECT carries nothing")
    return data


def with_attachments(data: Any, attachments: list[bytes]) -> Any:
    """``data`` with its placeholders replaced.

    Raises:
        Malformed: a placeholder names an attachment that is not there, or nested too deeply.
    """
    try:
        return _filled(data, attachments)
    except RecursionError as error:
        raise Malformed("nested too deeply") from error


def _filled(data: Any, attachments: list[bytes]) -> Any:
    if isinstance(data, dict):
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):
                raise Malformed("placeholder without attachment")
            return attachments[number]
        return {key: _filled(value, attachments) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, attachments) for value in data]
    return data


def split_payload(body: bytes) -> list[bytes]:
    """The packets of a polling body."""
    return body.split(SEPARATOR.encode())


def binary_of(packet: bytes) -> bytes:
    """The binary message behind a polling packet's ``b``.

    Raises:
        Malformed: not base64.
    """
    try:
        return base64.b64decode(packet[1:], validate=True)
    except ValueError as error:
        raise Malformed("not base64") from error
