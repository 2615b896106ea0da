import asyncio

from quest_backend.sockets.websocket import Passing

class FastReader(asyncio.BufferedProtocol):
    def __init__(
        self,
        protocol: asyncio.BufferedProtocol,
        assembler: object,
        passing: Passing | None,
        max_bytes: int,
    ) -> None: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
