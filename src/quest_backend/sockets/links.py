"""The transports of a session: picows directly, any ASGI WebSocket, HTTP polling."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from quest_backend.sockets.packets import SEPARATOR, Outgoing
from quest_backend.sockets.passing import Passed
from quest_backend.sockets.session import Session
from quest_backend.sockets.websocket import Direct

if sys.platform == "linux":
    from fcntl import ioctl as _ioctl
else:

    def _ioctl(*_: object) -> None:
        raise OSError("only Linux tells")


_SIOCOUTQNSD = 0x894B  # linux/sockios.h
_ZERO = b"\0\0\0\0"  # an int
_answer = bytearray(4)
_NOOP = Outgoing(b"6")
_CLOSE = Outgoing(b"1")
_PROBE = Outgoing(b"3probe")


def kernel_holds_back(fileno: int) -> bool:
    """Whether the kernel holds bytes that it could not put on the wire yet, where it tells.

    What is on its way does not count, so that a long round trip is no congestion.
    """
    try:
        _ioctl(fileno, _SIOCOUTQNSD, _answer, True)
    except OSError:
        return False
    return _answer != _ZERO


class _Link:
    """What every link does, by what each does in its own way."""

    __slots__ = ()

    def write(self, packets: Sequence[Outgoing]) -> None:
        raise NotImplementedError

    def busy(self) -> bool:
        raise NotImplementedError

    def offer(self, packet: Outgoing) -> bool:
        """Send, unless there is something left to send; whether it was sent."""
        if self.busy():
            return False
        self.write((packet,))
        return True


class _WebSocket(_Link):
    """What both WebSocket links do: a session of their own, or take one over from polling."""

    __slots__ = ("_upgrade_of", "session")

    def __init__(self, upgrade_of: Session | None) -> None:
        self.session: Session | None = None
        self._upgrade_of = upgrade_of

    def close(self) -> None:
        raise NotImplementedError

    def received(self, payload: bytes | Passed, text: bool) -> None:
        session = self.session
        if session is not None:
            session.received(payload, text)
        elif self._upgrade_of is not None:
            self._upgrading(self._upgrade_of, payload)

    def _upgrading(self, session: Session, payload: bytes | Passed) -> None:
        polling = session.link
        if session.closed or not isinstance(polling, PollingLink):
            self.close()
        elif payload == b"2probe":
            self.write((_PROBE,))
            polling.release()
        elif payload == b"5":
            self.session, self._upgrade_of = session, None
            session.link = self  # type: ignore[assignment]  # a Link, in its two subclasses
            self.started(session)
            left = polling.end()
            self.write([*left, *session.take_waiting()])
        else:
            self.close()

    def lost(self, code: int) -> None:
        if self.session is not None:
            self.session.close(f"transport close {code}", hang_up=False)
        elif self._upgrade_of is not None and isinstance(self._upgrade_of.link, PollingLink):
            self._upgrade_of.link.release(probing=False)

    def started(self, session: Session) -> None:
        """It is ``session``'s from now on."""

    def abandon(self) -> None:
        """The upgrade has taken too long."""
        if self.session is None:
            self.close()


class DirectLink(_WebSocket):
    """Over ``PicowsProtocol``, without a task: calls in, frames out."""

    __slots__ = ("_direct",)
    needs_retry = True

    def __init__(self, direct: Direct, upgrade_of: Session | None) -> None:
        super().__init__(upgrade_of)
        self._direct = direct

    def started(self, session: Session) -> None:
        """Messages go straight to the session."""
        self._direct.deliver_to(session.received)

    def write(self, packets: Sequence[Outgoing]) -> None:
        """Frames, made once for all receivers."""
        if len(packets) == 1:
            self._direct.write(packets[0].frames)
        elif packets:
            self._direct.write(b"".join([packet.frames for packet in packets]))

    def offer(self, packet: Outgoing) -> bool:
        """Send, unless there is something left to send: without a detour, for every frame."""
        direct = self._direct
        if direct.backlog_bytes() or kernel_holds_back(direct.fileno):
            return False
        direct.write(packet.frames)
        return True

    def write_frames(self, frames: bytes) -> bool:
        """As they are."""
        self._direct.write(frames)
        return True

    def backlog_bytes(self) -> int:
        """What the transport could not hand to the kernel."""
        return self._direct.backlog_bytes()

    def busy(self) -> bool:
        """Something is left in the transport or unsent in the kernel."""
        direct = self._direct
        return direct.backlog_bytes() > 0 or kernel_holds_back(direct.fileno)

    def paused(self) -> None:
        """Its buffer is full, which ``busy`` sees."""

    def drained(self) -> None:
        """The transport can take more."""
        if self.session is not None:
            self.session.flush()

    def pause_reading(self) -> None:
        """The kernel's buffers fill, then the client waits."""
        self._direct.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._direct.resume_reading()

    def close(self) -> None:
        """With a close frame."""
        self._direct.close()

    def abort(self) -> None:
        """At once."""
        self._direct.abort()


class AsgiLink(_WebSocket):
    """Over an ASGI WebSocket of any server: a task reads, another writes."""

    needs_retry = False

    def __init__(self, upgrade_of: Session | None) -> None:
        super().__init__(upgrade_of)
        self._queue: deque[Outgoing] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._readable = asyncio.Event()
        self._readable.set()
        self._closing = False
        self._aborted = False
        self._task: asyncio.Task[Any] | None = None

    async def run(
        self,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Until the connection is gone."""
        self._task = asyncio.current_task()
        writer = asyncio.get_running_loop().create_task(self._write_all(send))
        code = 1006
        try:
            while True:
                await self._readable.wait()
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    code = message.get("code") or 1006
                    break
                text = message.get("text")
                payload = text.encode() if text is not None else message["bytes"]
                self.received(payload, text is not None)
        except asyncio.CancelledError:
            if not self._aborted:
                raise
        finally:
            self._closing = True
            self._wake.set()
            with contextlib.suppress(Exception):  # the peer is gone; what it misses is moot
                async with asyncio.timeout(1):
                    await writer
            self.lost(code)

    async def _write_all(self, send: Callable[[Any], Awaitable[None]]) -> None:
        while True:
            while self._queue:
                packet = self._queue[0]
                for message in packet.messages():
                    kind = "text" if isinstance(message, str) else "bytes"
                    await send({"type": "websocket.send", kind: message})
                self._queue.popleft()
                self._bytes -= packet.size
            if self._closing:
                await send({"type": "websocket.close"})
                return
            if self.session is not None:
                self.session.flush()
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()

    def write(self, packets: Sequence[Outgoing]) -> None:
        """To the writer."""
        if not self._closing:
            self._queue.extend(packets)
            self._bytes += sum(packet.size for packet in packets)
            self._wake.set()

    def write_frames(self, frames: bytes) -> bool:  # noqa: ARG002 - a Link
        """ASGI takes messages, not frames."""
        return False

    def backlog_bytes(self) -> int:
        """What waits for the writer."""
        return self._bytes

    def busy(self) -> bool:
        """The writer has something left."""
        return bool(self._queue)

    def pause_reading(self) -> None:
        """After the message in hand."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Go on."""
        self._readable.set()

    def close(self) -> None:
        """After what is queued."""
        self._closing = True
        self._wake.set()

    def abort(self) -> None:
        """At once."""
        self._queue.clear()
        self._aborted = True
        self.close()
        if self._task is not None:
            self._task.cancel()


class PollingLink(_Link):
    """Over HTTP long polling: packets wait for the next GET."""

    needs_retry = False

    def __init__(self) -> None:
        self._queue: list[Outgoing] = []
        self._bytes = 0
        self._poll: asyncio.Future[None] | None = None
        self._probing = False
        self._closed = False
        self.session: Session
        self.readable = asyncio.Event()
        self.readable.set()

    @property
    def polled(self) -> bool:
        """Whether a GET waits now."""
        return self._poll is not None

    async def poll(self, gone: Callable[[], Awaitable[None]]) -> bytes | None:
        """The body of a GET, when there is something; None when the client left before.

        ``gone`` returns when the client hangs up.
        """
        if not self._queue:
            self._queue = self.session.take_waiting()
        if not self._queue and not self._probing and not self._closed:
            self._poll = asyncio.get_running_loop().create_future()
            watch = asyncio.ensure_future(gone())
            try:
                await asyncio.wait({self._poll, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                left = not self._poll.done()
                self._poll = None
                watch.cancel()
            if left:
                return None
        packets, self._queue, self._bytes = self._queue, [], 0
        packets += self.session.take_waiting()
        return SEPARATOR.join([packet.payload for packet in packets or [_NOOP]]).encode()

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def release(self, *, probing: bool = True) -> None:
        """Let a GET return at once, so that the client can change to WebSocket."""
        self._probing = probing
        if probing:
            self._wake()

    def end(self) -> list[Outgoing]:
        """The session has changed to WebSocket; what was left."""
        left, self._queue, self._bytes = self._queue, [], 0
        self._closed = True
        self._wake()
        return left

    def write(self, packets: Sequence[Outgoing]) -> None:
        """For the GET that waits, or the next one."""
        self._queue.extend(packets)
        self._bytes += sum(packet.size for packet in packets)
        self._wake()

    def write_frames(self, frames: bytes) -> bool:  # noqa: ARG002 - a Link
        """There are none."""
        return False

    def backlog_bytes(self) -> int:
        """What waits for a GET."""
        return self._bytes

    def busy(self) -> bool:
        """No GET waits that is not answered already."""
        return self._poll is None or self._poll.done()

    def pause_reading(self) -> None:
        """The POST in hand is answered later."""
        self.readable.clear()

    def resume_reading(self) -> None:
        """Go on."""
        self.readable.set()

    def close(self) -> None:
        """A GET that waits hears it, unless the client said it itself."""
        if not self._closed:
            self._closed = True
            if not self.session.closed:  # the client's own goodbye is answered by a NOOP
                self._wake()
                return
            self.write((_CLOSE,))

    def abort(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        self.close()
