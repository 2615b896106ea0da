"""A compiled reader between a stream and what it delivers, without an event loop."""

from types import SimpleNamespace
from typing import Any

from quest_backend.sockets import websocket
from quest_backend.sockets.fast_reader import FastReader
from quest_backend.sockets.passing import Passed, Passing


class Picows:
    """In its place: takes what it is given, in steps of its own."""

    def __init__(self) -> None:
        self.taken = b""
        self._room = bytearray(1009)

    def get_buffer(self, _hint: int) -> memoryview:
        return memoryview(self._room)

    def buffer_updated(self, size: int) -> None:
        self.taken += self._room[:size]


class Reading:
    """A reader and what came out of it."""

    def __init__(self, passing: Passing | None, max_bytes: int) -> None:
        self.picows = Picows()
        self.delivered: list[tuple[Any, bool]] = []
        self.failed: list[int] = []
        self.transport = SimpleNamespace(is_close_frame_sent=False)
        self.fault: Exception | None = None
        self.reader: Any = FastReader(self.picows, self, passing, max_bytes)  # type: ignore[arg-type]

    def deliver(self, message: Any, text: bool) -> None:
        self.delivered.append((message, text))
        if self.fault is not None:
            raise self.fault

    def fail(self, code: int, _reason: str) -> None:
        self.failed.append(code)
        self.transport.is_close_frame_sent = True

    def feed(self, data: bytes) -> None:
        websocket._feed(self.reader, data)

    @property
    def messages(self) -> list[bytes]:
        return [one.packet if isinstance(one, Passed) else one for one, _ in self.delivered]
