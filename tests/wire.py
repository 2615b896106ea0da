"""A client on a bare TCP socket: it reads when told to, and sends whatever bytes it is told to."""

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support import TOKENS, Server, new_id

from quest_backend.protocol import catalogue
from quest_backend.protocol.events import DeviceType, Inbound, Outbound

TEXT, BINARY, CLOSE = 1, 2, 8
# A mask of zeros is as good as any other for a server (RFC 6455, 5.3), and leaves bytes as they are.
_NO_MASK = b"\0\0\0\0"


def _client_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + _NO_MASK + payload


class Closed(Exception):  # noqa: N818 - what happened to it
    """The server hung up."""


class Wire:
    """One Socket.IO connection over WebSocket, its messages as bytes.

    ``rcvbuf`` bounds what the kernel takes for it (Linux doubles the number).
    """

    def __init__(self, server: Server, kind: DeviceType, identity: str = "", *,
                 rcvbuf: int | None = None, **auth: Any) -> None:  # fmt: skip
        self.identity = identity or new_id(kind.value)
        self._auth = {"token": TOKENS.issue(self.identity, kind), **auth}
        self._port = server.port
        self._socket = socket.socket()
        if rcvbuf is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._messages: deque[tuple[int, bytes]] = deque()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
            key = b"AAAAAAAAAAAAAAAAAAAAAA=="
            await loop.sock_sendall(
                self._socket,
                b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\n"
                b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
                b"sec-websocket-key: " + key + b"\r\n\r\n",
            )
            while b"\r\n\r\n" not in self._buffer:
                await self.take(65536)
            head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            assert b" 101 " in head, head
            self._buffer[:] = rest
            self._parse()
            assert (await self.message())[1].startswith(b"0{")
            await self.text(b"40" + json.dumps(self._auth).encode())
            await self.until(lambda _, payload: payload.startswith(b"40{"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    # -- out ---------------------------------------------------------------------------------------

    async def text(self, *payloads: bytes) -> None:
        """Text messages, in one write; not checked to be UTF-8."""
        await self._send(b"".join([_client_frame(TEXT, payload) for payload in payloads]))

    async def binary_event(self, event: Inbound, data: bytes) -> None:
        """An event with one attachment as its argument."""
        head = json.dumps([event.name, {"_placeholder": True, "num": 0}]).encode()
        await self._send(_client_frame(TEXT, b"451-" + head) + _client_frame(BINARY, data))

    async def binary(self, data: bytes) -> None:
        """A binary message."""
        await self._send(_client_frame(BINARY, data))

    async def send(self, event: Inbound, *args: Any) -> None:
        """An event."""
        await self.text(b"42" + json.dumps([event.name, *args]).encode())

    async def pong(self) -> None:
        """Say that it lives, asked or not."""
        await self.text(b"3")

    async def _send(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    # -- in ----------------------------------------------------------------------------------------

    async def take(self, size: int) -> int:
        """Read once, at most ``size`` bytes; how many. Whole messages are then in ``waiting``.

        Raises:
            Closed: there is nothing more to come.
        """
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        except ConnectionError as error:
            raise Closed from error
        if not data:
            raise Closed
        self._buffer += data
        if b"\r\n\r\n" not in self._buffer or not self._buffer.startswith(b"HTTP/"):
            self._parse()
        return len(data)

    def _parse(self) -> None:
        buffer = self._buffer
        at = 0
        while len(buffer) - at >= 2:
            opcode, size, start = buffer[at] & 0x0F, buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if start > len(buffer) or start + size > len(buffer):
                break
            self._messages.append((opcode, bytes(buffer[start : start + size])))
            at = start + size
        del buffer[:at]

    def waiting(self) -> list[tuple[int, bytes]]:
        """Messages that were read and not taken yet, without pings."""
        messages = [one for one in self._messages if one != (TEXT, b"2")]
        self._messages.clear()
        return messages

    async def message(self, timeout_s: float = 10) -> tuple[int, bytes]:
        """The next message; pings are answered.

        Raises:
            Closed: the server hung up.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                while not self._messages:
                    await self.take(1 << 20)
                opcode, payload = self._messages.popleft()
                if opcode == CLOSE:
                    raise Closed(payload)
                if payload == b"2" and opcode == TEXT:
                    await self.pong()
                    continue
                return opcode, payload

    async def until(self, where: Any, timeout_s: float = 10) -> tuple[int, bytes]:
        """The next message that ``where(opcode, payload)`` accepts; others are thrown away."""
        async with asyncio.timeout(timeout_s):
            while True:
                opcode, payload = await self.message(timeout_s)
                if where(opcode, payload):
                    return opcode, payload

    async def gets(self, event: Outbound, timeout_s: float = 10) -> Any:
        """Arguments of the next such event; attachments are in their places."""
        name = json.dumps(event.name).encode()
        heads = (b"42[" + name, b"451-[" + name)
        _, payload = await self.until(lambda _, text: text.startswith(heads), timeout_s)
        if payload.startswith(b"42"):
            return json.loads(payload[2:])[1:]
        _, attachment = await self.until(lambda opcode, _: opcode == BINARY, timeout_s)
        return [
            attachment if isinstance(arg, dict) and arg.get("_placeholder") else arg
            for arg in json.loads(payload[4:])[1:]
        ]

    async def settled(self) -> list[bytes]:
        """All that came until everything sent so far was handled."""
        number = int.from_bytes(os.urandom(4), "big")
        await self.text(b'42%d["sync-barrier"]' % number)
        came: list[bytes] = []
        while not (last := (await self.message())[1]).startswith(b"43%d[" % number):
            if b"sync-barrier" not in last:  # that there is no such event
                came.append(last)
        return came

    async def errors(self) -> list[str]:
        """Codes of the errors that everything sent so far has brought, and that nobody took."""
        start = b'42["error",'
        came = [text for text in await self.settled() if text.startswith(start)]
        return [json.loads(text[2:])[1]["code"] for text in came]


@asynccontextmanager
async def wire_headset(server: Server, identity: str = "") -> AsyncIterator[Wire]:
    """An identified headset."""
    async with Wire(server, DeviceType.HEADSET, identity) as quest:
        await quest.send(catalogue.HEADSET_IDENTIFY, quest.identity)
        await quest.gets(catalogue.ON_HEADSET_CONNECTED)
        yield quest


@asynccontextmanager
async def wire_viewer(server: Server, *watched: str, **options: Any) -> AsyncIterator[Wire]:
    """A tablet that has locked these headsets."""
    async with Wire(server, DeviceType.TABLET, **options) as tablet:
        await tablet.send(catalogue.TABLET_LOCK_DEVICES, list(watched))
        answer = await tablet.gets(catalogue.ON_DEVICES_LOCKED)
        assert sorted(answer[0]["locked"]) == sorted(watched), answer
        yield tablet


class Poller:
    """A tablet over HTTP long polling, which polls when told to."""

    def __init__(self, server: Server, **auth: Any) -> None:
        self.identity = new_id("polling")
        self._auth = {"token": TOKENS.issue(self.identity, DeviceType.TABLET), **auth}
        self._http = httpx.AsyncClient(base_url=server.url, timeout=10)
        self._path = "/socket.io/?EIO=4&transport=polling"

    async def __aenter__(self) -> Self:
        opened = await self._http.get(self._path)
        self._path += "&sid=" + json.loads(opened.text[1:])["sid"]
        await self.post("40" + json.dumps(self._auth))
        await self.until("40{")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.post("1")
        await self._http.aclose()

    async def post(self, *packets: str) -> None:
        body = "\x1e".join(packets)
        assert (await self._http.post(self._path, content=body)).text == "ok"

    async def send(self, event: Inbound, *args: Any) -> None:
        await self.post("42" + json.dumps([event.name, *args]))

    async def poll(self) -> list[str]:
        """One GET: the packets in it; a ping is answered."""
        reply = await self._http.get(self._path)
        assert reply.status_code == 200, reply.text
        packets = reply.text.split("\x1e")
        if "2" in packets:
            await self.post("3")
        return [packet for packet in packets if packet not in ("2", "6")]

    async def until(self, start: str) -> list[str]:
        """Polls until a packet starts so: all packets from there on."""
        async with asyncio.timeout(10):
            while True:
                packets = await self.poll()
                for index, packet in enumerate(packets):
                    if packet.startswith(start):
                        return packets[index:]


async def metrics(server: Server) -> dict[str, float]:
    """What /metrics says: samples by name, and the values of labels in the order of their names."""
    async with server.http() as http:
        text = (await http.get("/metrics")).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(sample.labels[name] for name in sorted(sample.labels))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found
