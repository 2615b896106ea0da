"""The echo server that the official Engine.IO v4 and Socket.IO v5 test suites expect.

    python tests/protocol_server.py 3000

Socket.IO at /socket.io/: ``auth`` on connect, ``message`` to ``message-back``, ``message-with-ack``
to its acknowledgement, on ``/`` and ``/custom``. Engine.IO at /engine.io/: every message back.
On the project's own stack: picows under uvicorn (WEBSOCKET=websockets-sansio for uvicorn's own).
Like the original server, and unlike the product, it hangs up on malformed packets.
"""

import os
import sys
from typing import Any

import uvicorn

from quest_backend.sockets import packets
from quest_backend.sockets.engine import EngineServer, mounted
from quest_backend.sockets.session import Session
from quest_backend.sockets.socketio import Client, SocketIo
from quest_backend.sockets.websocket import PROTOCOLS

TIMES: dict[str, Any] = {
    "ping_interval_s": 0.3,
    "ping_timeout_s": 0.2,
    "max_payload_bytes": 1_000_000,
    "origins": ["*"],
}


class EchoDoor:
    """A namespace that lets everybody in."""

    def authenticate(self, client: Client, auth: Any, query: str) -> None:
        client.state = auth if auth is not None else {}

    def opened(self, client: Client) -> None:
        client.session.send(packets.event("auth", client.state, namespace=client.namespace))

    def tap(self, client: Client) -> None:
        return None

    def event(self, client: Client, name: str, args: list[Any], ack_id: int | None) -> None:
        if name == "message":
            back = packets.event("message-back", *args, namespace=client.namespace)
            client.session.send(back)
        elif name == "message-with-ack" and ack_id is not None:
            client.session.send(packets.acknowledgement(ack_id, args, client.namespace))

    def malformed(self, client: Client, problem: str) -> None:
        client.session.close(f"parse error: {problem}")

    def closed(self, client: Client, reason: str) -> None:
        pass


class EngineEcho:
    """Engine.IO without Socket.IO."""

    def opened(self, session: Session, query: str) -> None:
        pass

    def received(self, session: Session, packet: bytes) -> None:
        session.send(packets.Outgoing(packet))

    def received_binary(self, session: Session, data: bytes) -> None:
        session.send(packets.Outgoing(attachments=(data,)))

    def malformed(self, session: Session, problem: str) -> None:
        session.close(f"parse error: {problem}")

    def closed(self, session: Session, reason: str) -> None:
        pass


async def nothing_else(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"Not found"})


def app() -> Any:
    door = EchoDoor()
    socket_io = EngineServer(SocketIo({"/": door, "/custom": door}, connect_timeout_s=1), **TIMES)
    engine_io = EngineServer(EngineEcho(), **TIMES)
    return mounted(socket_io, "/socket.io", mounted(engine_io, "/engine.io", nothing_else))


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    chosen = os.environ.get("WEBSOCKET", "picows")
    uvicorn.run(
        app(),
        host="127.0.0.1",
        port=port,
        ws=PROTOCOLS.get(chosen, chosen),
        ws_max_size=1_000_000,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
    )


if __name__ == "__main__":
    main()
