"""A client's way to the servers: a TCP proxy of its own that can be cut, and led elsewhere."""

import asyncio
import contextlib
from collections.abc import Sequence

_CONNECT_S = 2.0
_PIECE_BYTES = 64 * 1024


class Line:
    """Passes a client's connections on to one of several addresses.

    As a proxy with health checks does, it takes the next address when the one it has refuses; a
    ``fixed`` line does not.
    """

    def __init__(self, ports: Sequence[int], at: int = 0, *, fixed: bool = False) -> None:
        self.at = at
        self.fixed = fixed
        self.down = False  # nothing gets through
        self.url = ""
        self._ports = ports
        self._server: asyncio.Server | None = None
        self._near: set[asyncio.StreamWriter] = set()
        self._far: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Take connections; the URL."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        """Cut everything, and take nothing any more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, silent: bool = False) -> None:
        """Reset what is open. ``silent``: the server hears nothing of it, as when Wi-Fi is lost."""
        for writer in [*self._near, *(() if silent else self._far)]:
            writer.transport.abort()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        count = 1 if self.fixed else len(self._ports)
        for step in range(count):
            port = self._ports[(self.at + step) % len(self._ports)]
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._near.add(writer)
        far = None if self.down else await self._reach()
        if far is None or writer.transport.is_closing():
            writer.transport.abort()
            self._near.discard(writer)
            if far is not None:
                far[1].transport.abort()
            return
        there, back = far
        self._far.add(back)
        self._spawn(self._up(reader, writer, back))
        self._spawn(self._down(there, back, writer))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _up(
        self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(_PIECE_BYTES):
                back.write(data)
                await back.drain()
            back.close()
        except OSError:
            pass  # cut: the server's side hears of it in ``cut``, or when it misses a pong
        finally:
            self._near.discard(near)

    async def _down(
        self, there: asyncio.StreamReader, back: asyncio.StreamWriter, near: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await there.read(_PIECE_BYTES):
                if near.transport.is_closing():
                    continue  # into the void, until the server notices
                near.write(data)
                with contextlib.suppress(OSError):
                    await near.drain()
        except OSError:
            pass  # the server died
        finally:
            self._far.discard(back)
            back.transport.abort()
            near.close()
