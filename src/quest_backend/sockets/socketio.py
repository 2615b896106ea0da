"""Socket.IO v5 over Engine.IO sessions: namespaces, events, acknowledgements, attachments.

Protocol: https://github.com/socketio/socket.io-protocol. One client's packets are taken in order:
what has to wait is worked off by one task, which lives only as long as there is something to do.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog

from quest_backend.sockets.packets import (
    MAX_ATTACHMENTS,
    Kind,
    Malformed,
    Outgoing,
    Received,
    plain,
    read,
    with_attachments,
)
from quest_backend.sockets.passing import Passed
from quest_backend.sockets.session import Session

log = structlog.get_logger()

Work = Coroutine[Any, Any, None] | None
# Gets a text message as it came, with Engine.IO's ``4``; False to have it read as usual.
Tap = Callable[[bytes | Passed], bool]

# A client whose packets wait for more than this is read no further.
_MAX_INBOX_BYTES = 1024 * 1024
_MAX_INBOX_PACKETS = 256


class ConnectRefused(Exception):  # noqa: N818 - an answer, not a fault
    """A door lets a client not in; the message is what the client reads."""


class Client:
    """A connected client of one namespace. ``state`` is the door's."""

    __slots__ = ("namespace", "session", "sid", "state")

    def __init__(self, session: Session, namespace: str) -> None:
        self.session = session
        self.namespace = namespace
        self.sid = secrets.token_urlsafe(15)
        self.state: Any = None


class Door(Protocol):
    """A namespace. What has to wait is returned as a coroutine; what it raises is logged."""

    def authenticate(self, client: Client, auth: Any, query: str) -> None:
        """Let it in, or raise ``ConnectRefused``. ``query`` is that of the handshake's URL."""

    def opened(self, client: Client) -> Work:
        """It has been told that it is connected."""

    def tap(self, client: Client) -> Tap | None:
        """What sees this client's messages before they are read, if anything does."""

    def event(self, client: Client, name: str, args: list[Any], ack_id: int | None) -> Work:
        """It sent an event."""

    def malformed(self, client: Client, problem: str) -> None:
        """It sent something that is no event."""

    def closed(self, client: Client, reason: str) -> Work:
        """It is gone."""


class _Peer:
    """What one session has said so far."""

    __slots__ = ("attachments", "clients", "connect_timer", "expects", "inbox", "inbox_bytes",
                 "main", "paused", "pending", "query", "tap", "task")  # fmt: skip

    def __init__(self, query: str) -> None:
        self.query = query
        self.clients: dict[str, Client] = {}
        self.main: Client | None = None
        self.tap: Tap | None = None
        # A binary event whose attachments are on their way; how many more come, and which came.
        self.pending: Received | None = None
        self.expects = 0
        self.attachments: list[bytes] | None = None
        self.inbox: deque[Any] | None = None
        self.inbox_bytes = 0
        self.paused = False
        self.task: asyncio.Task[None] | None = None
        self.connect_timer: asyncio.TimerHandle | None = None


class SocketIo:
    """The ``Application`` of an ``EngineServer``. ``doors`` by namespace; ``/`` is the main one."""

    def __init__(self, doors: Mapping[str, Door], *, connect_timeout_s: float) -> None:
        self.doors = doors
        self._connect_timeout_s = connect_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def finish(self, timeout_s: float) -> None:
        """Let what is being worked on end."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    # -- Application -------------------------------------------------------------------------------

    def opened(self, session: Session, query: str) -> None:
        """Wait for a CONNECT, but not for ever."""
        session.state = peer = _Peer(query)
        self._expect_connect(session, peer)

    def received(self, session: Session, packet: bytes) -> None:
        """A message: at once, or behind what this client has sent before."""
        self._in_order(session, packet, len(packet))

    def received_binary(self, session: Session, data: bytes) -> None:
        """An attachment."""
        self._in_order(session, (data,), len(data))

    def malformed(self, session: Session, problem: str) -> None:
        """Neither Engine.IO nor Socket.IO."""
        client = session.state.main
        if client is None:
            client = next(iter(session.state.clients.values()), None)
        if client is None:
            session.close("parse error")
        else:
            self.doors[client.namespace].malformed(client, problem)

    def closed(self, session: Session, reason: str) -> None:
        """All of its clients are gone."""
        peer: _Peer = session.state
        if peer.connect_timer is not None:
            peer.connect_timer.cancel()
        clients = list(peer.clients.values())
        peer.clients.clear()
        peer.main = None
        for client in clients:
            self._in_order(session, (client, reason), 0)

    # -- in order ----------------------------------------------------------------------------------

    def _in_order(self, session: Session, item: Any, size: int) -> None:
        """At once, or after all that waits. ``item`` is as in ``_take``, ``size`` its bytes."""
        peer: _Peer = session.state
        if peer.task is not None:
            self._queue(session, peer, item, size)
            return
        work = self._take(session, peer, item)
        if work is not None:
            self._start(session, peer, work)

    def _queue(self, session: Session, peer: _Peer, item: Any, size: int) -> None:
        if peer.inbox is None:
            peer.inbox = deque()
        peer.inbox.append(item)
        peer.inbox_bytes += size
        if peer.inbox_bytes > _MAX_INBOX_BYTES or len(peer.inbox) > _MAX_INBOX_PACKETS:
            peer.paused = True
            session.link.pause_reading()

    def _start(self, session: Session, peer: _Peer, work: Coroutine[Any, Any, None]) -> None:
        peer.task = task = session.loop.create_task(self._work(session, peer, work))
        _let_tap(session, peer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, session: Session, peer: _Peer, work: Work) -> None:
        try:
            while True:
                if work is not None:
                    try:
                        await work
                    except Exception:  # a door's bug ends this one packet only
                        log.exception("packet_failed", session=session.id)
                inbox = peer.inbox
                if not inbox:
                    return
                item = inbox.popleft()
                if isinstance(item, bytes):
                    peer.inbox_bytes -= len(item)
                elif len(item) == 1:
                    peer.inbox_bytes -= len(item[0])
                if peer.paused and self._has_room(peer, inbox):
                    peer.paused = False
                    session.link.resume_reading()
                work = self._take(session, peer, item)
        finally:
            peer.task = None
            _let_tap(session, peer)
            peer.inbox = None
            peer.inbox_bytes = 0
            if peer.paused:
                peer.paused = False
                session.link.resume_reading()

    @staticmethod
    def _has_room(peer: _Peer, inbox: deque[Any]) -> bool:
        return peer.inbox_bytes < _MAX_INBOX_BYTES // 2 and len(inbox) < _MAX_INBOX_PACKETS // 2

    def _take(self, session: Session, peer: _Peer, item: Any) -> Work:
        """One packet, attachment ``(data,)`` or end ``(client, reason)``."""
        try:
            return self._dispatch(session, peer, item)
        except Exception:  # a door's bug ends this one packet only
            log.exception("packet_failed", session=session.id)
            return None

    def _dispatch(self, session: Session, peer: _Peer, item: Any) -> Work:
        if isinstance(item, bytes):
            return self._text(session, peer, item)
        if len(item) == 1:
            return self._attachment(session, peer, item[0])
        client, reason = item
        return self.doors[client.namespace].closed(client, reason)

    # -- packets -----------------------------------------------------------------------------------

    def _text(self, session: Session, peer: _Peer, packet: bytes) -> Work:
        if session.closed:
            return None
        try:
            received = read(packet[1:])
        except Malformed as error:
            self.malformed(session, str(error))
            return None
        if received.kind is Kind.CONNECT:
            return self._connect(session, peer, received)
        client = peer.clients.get(received.namespace)
        if client is None:
            return None  # its CONNECT was refused or never sent; the timer ends that
        return self._of_client(session, peer, client, received)

    def _of_client(self, session: Session, peer: _Peer, client: Client, got: Received) -> Work:
        door = self.doors[client.namespace]
        if got.kind in (Kind.BINARY_EVENT, Kind.BINARY_ACK):
            if got.attachments == 0 and got.kind is Kind.BINARY_EVENT:
                return door.event(client, got.data[0], got.data[1:], got.ack_id)
            peer.pending = got if got.kind is Kind.BINARY_EVENT else None
            peer.expects = got.attachments
            peer.attachments = []
            _let_tap(session, peer)
            if got.attachments > MAX_ATTACHMENTS:
                peer.pending, peer.expects = None, MAX_ATTACHMENTS
                door.malformed(client, f"at most {MAX_ATTACHMENTS} attachments")
            return None
        if got.kind is Kind.EVENT:
            return door.event(client, got.data[0], got.data[1:], got.ack_id)
        if got.kind is Kind.DISCONNECT:
            del peer.clients[client.namespace]
            if peer.main is client:
                peer.main = peer.tap = session.tap = None
            if not peer.clients:
                self._expect_connect(session, peer)
            return door.closed(client, "client disconnect")
        if got.kind is Kind.CONNECT_ERROR:
            door.malformed(client, "not for servers")
        return None

    def _attachment(self, session: Session, peer: _Peer, data: bytes) -> Work:
        if not peer.expects or peer.attachments is None:
            self.malformed(session, "binary data that no event announced")
            return None
        peer.attachments.append(data)
        peer.expects -= 1
        if peer.expects:
            return None
        _let_tap(session, peer)
        got, attachments = peer.pending, peer.attachments
        peer.pending, peer.attachments = None, None
        client = peer.clients.get(got.namespace) if got is not None else None
        if got is None or client is None:
            return None
        door = self.doors[client.namespace]
        try:
            args = with_attachments(got.data[1:], attachments)
        except Malformed as error:
            door.malformed(client, str(error))
            return None
        return door.event(client, got.data[0], args, got.ack_id)

    # -- coming in ---------------------------------------------------------------------------------

    def _expect_connect(self, session: Session, peer: _Peer) -> None:
        peer.connect_timer = session.loop.call_later(
            self._connect_timeout_s, session.close, "no CONNECT"
        )

    def _connect(self, session: Session, peer: _Peer, received: Received) -> Work:
        namespace = received.namespace
        door = self.doors.get(namespace)
        if door is None:
            session.send(plain(Kind.CONNECT_ERROR, {"message": "Invalid namespace"}, namespace))
            return None
        if namespace in peer.clients:
            return None
        client = Client(session, namespace)
        try:
            door.authenticate(client, received.data, peer.query)
        except ConnectRefused as error:
            session.send(plain(Kind.CONNECT_ERROR, {"message": str(error)}, namespace))
            return None
        if peer.connect_timer is not None:
            peer.connect_timer.cancel()
            peer.connect_timer = None
        peer.clients[namespace] = client
        if namespace == "/":
            peer.main = client
            peer.tap = door.tap(client)
            _let_tap(session, peer)
        session.send(connected(client))
        return door.opened(client)


def _let_tap(session: Session, peer: _Peer) -> None:
    """Let the tap see messages, unless they have to wait for earlier ones of the same client."""
    session.tap = None if peer.task is not None or peer.expects else peer.tap


def connected(client: Client) -> Outgoing:
    """The answer to CONNECT."""
    return plain(Kind.CONNECT, {"sid": client.sid}, client.namespace)
