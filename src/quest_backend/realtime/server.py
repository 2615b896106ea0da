"""python-socketio with a door of our own: malformed packets are answered, never fatal.

python-socketio 5 logs a malformed packet, engineio 4 ends the connection on some, a client may
send events named ``connect``, and announced attachments are collected without a bound. So Socket.IO
packets are read here and go to the gateway; handshake, polling, upgrade and pings stay theirs.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import engineio
import orjson
import socketio
from engineio.async_drivers.asgi import WebSocket
from engineio.payload import Payload
from socketio import packet as sio_packet

from quest_backend.protocol.limits import MAX_MESSAGE_BYTES

# A polling client posts what has gathered in one body; the default of 16 loses the rest.
Payload.max_decode_packets = 1000
_MAX_ATTACHMENTS = 8
_EMPTY_MESSAGE = "4"


class Json:
    """orjson under the names python-socketio asks for."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON text."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """The value; ``ValueError`` for NaN, lone surrogates, too deep nesting."""
        return orjson.loads(text)


class TolerantWebSocket(WebSocket):  # type: ignore[misc]  # engineio is untyped
    """Hands a message that is no Engine.IO packet on as an empty one, to be answered."""

    async def wait(self) -> Any:
        """The next message."""
        data = await super().wait()
        if isinstance(data, str) and data[:1] not in ("0", "1", "2", "3", "4", "5", "6"):
            return _EMPTY_MESSAGE
        return data


class Door(Protocol):
    """What the gateway does with sockets and their packets; ``eio_sid`` names the socket."""

    def authenticate(self, environ: dict[str, Any], auth: Any) -> Any:
        """Who it is. Raises ``ConnectionRefusedError``."""

    async def opened(self, sid: str, eio_sid: str, who: Any) -> None:
        """The client has been told that it is connected."""

    async def closed(self, sid: str, reason: str) -> None:
        """It is gone."""

    async def event(self, sid: str, name: str, args: list[Any], ack_id: int | None) -> None:
        """It sent an event."""

    def malformed(self, sid: str, problem: str) -> None:
        """It sent something that is no event."""


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]  # socketio is untyped
    """One namespace, ``/``; every packet of a connected client goes to ``door``."""

    def __init__(
        self, *, ping_interval_s: float, ping_timeout_s: float, origins: list[str]
    ) -> None:
        super().__init__(
            async_mode="asgi",
            json=Json,
            # One client's events stay in order.
            async_handlers=False,
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            cors_allowed_origins="*" if origins == ["*"] else origins,
            cors_credentials=False,
        )
        self.eio._async = {**self.eio._async, "websocket": TolerantWebSocket}  # noqa: SLF001 - its only seam for a transport
        self.door: Door
        self._who: dict[str, Any] = {}
        self._attachments: dict[str, int] = {}
        self.on("connect", self._on_connect)
        self.on("disconnect", self._on_disconnect)

    @property
    def sockets(self) -> dict[str, Any]:
        """Engine.IO's sockets by their ids."""
        sockets: dict[str, Any] = self.eio.sockets
        return sockets

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            self._who[sid] = self.door.authenticate(environ, auth)
        except ConnectionRefusedError as error:
            # Only their own exception carries the reason to the client's connect_error.
            raise socketio.exceptions.ConnectionRefusedError(str(error)) from error

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        await self.door.closed(sid, reason)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        if sid is None or not self.manager.is_connected(sid, "/"):
            await self._before_connect(eio_sid, data)
            return
        if isinstance(data, bytes):
            self._attachment(sid, eio_sid)
            return
        packet = _decode(data)
        if packet is None:
            self.door.malformed(sid, "not a Socket.IO packet")
            return
        await self._packet(sid, eio_sid, packet)

    async def _before_connect(self, eio_sid: str, data: Any) -> None:
        packet = _decode(data)
        if packet is None or packet.packet_type != sio_packet.CONNECT:
            return
        await self._handle_connect(eio_sid, packet.namespace, packet.data)
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        if sid is None:
            return
        if sid in self._who and self.manager.is_connected(sid, "/"):
            await self.door.opened(sid, eio_sid, self._who.pop(sid))

    async def _packet(self, sid: str, eio_sid: str, packet: Any) -> None:
        kind = packet.packet_type
        if kind in (sio_packet.BINARY_EVENT, sio_packet.BINARY_ACK):
            self._attachments[eio_sid] = min(packet.attachment_count, _MAX_ATTACHMENTS)
            self.door.malformed(sid, "no event takes binary data")
        elif kind == sio_packet.CONNECT and packet.namespace not in (None, "/"):
            await self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif packet.namespace not in (None, "/") or kind in (
            sio_packet.ACK,
            sio_packet.CONNECT,
        ):
            return
        elif kind == sio_packet.DISCONNECT:
            await self._handle_disconnect(eio_sid, "/", self.reason.CLIENT_DISCONNECT)
        elif kind == sio_packet.EVENT and _is_event(packet.data):
            await self.door.event(sid, packet.data[0], packet.data[1:], packet.id)
        else:
            self.door.malformed(sid, "not an event: [name, ...arguments]")

    def _attachment(self, sid: str, eio_sid: str) -> None:
        left = self._attachments.pop(eio_sid, 0)
        if left == 0:
            self.door.malformed(sid, "no event takes binary data")
        elif left > 1:
            self._attachments[eio_sid] = left - 1

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._attachments.pop(eio_sid, None)
        await super()._handle_eio_disconnect(eio_sid, reason)


def _decode(data: Any) -> Any:
    """A Socket.IO packet, or None. Its type is an ASCII digit; ``int`` reads any script's."""
    if not isinstance(data, str) or data[:1] not in tuple("0123456"):
        return None
    try:
        return sio_packet.Packet(encoded_packet=data)
    except ValueError:
        return None


def _is_event(data: Any) -> bool:
    return isinstance(data, list) and len(data) > 0 and isinstance(data[0], str)


def asgi(server: SocketServer, other: Callable[..., Awaitable[None]]) -> Any:
    """An ASGI app: ``/socket.io/`` to ``server``, everything else to ``other``."""
    return engineio.ASGIApp(server.eio, other_asgi_app=other, engineio_path="socket.io")
