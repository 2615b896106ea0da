"""Caddy as deploy/ configures it, in front of real servers."""

import copy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from support import Server, free_port

DEPLOY = Path(__file__).parent.parent / "deploy"
BIN = Path(sys.executable).parent
# How a client may come in: its transports by name.
WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


@contextmanager
def caddy(folder: Path, *servers: Server) -> Iterator[Server]:
    """The first server as clients reach it, through a Caddy that spreads them over all."""
    folder.mkdir(parents=True, exist_ok=True)
    front, process = _started(folder, servers)
    try:
        yield front
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _started(
    folder: Path, servers: tuple[Server, ...], tries: int = 5
) -> "tuple[Server, subprocess.Popen[bytes]]":
    front = copy.copy(servers[0])
    front.port = free_port()
    front.url = f"http://127.0.0.1:{front.port}"
    environment = {
        "HOME": str(folder),
        "QUEST_SITE": f"http://:{front.port}",
        "QUEST_UPSTREAMS": " ".join(f"127.0.0.1:{server.port}" for server in servers),
        "QUEST_COOKIE_SECRET": "of-a-test",
        "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
    }
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "caddy", "run", "--config", DEPLOY / "caddy" / "Caddyfile"],
            env=environment, stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        _wait(front, process, folder / "caddy.log")
    except AssertionError as error:
        process.kill()
        process.wait()
        # Between looking for a free port and taking it, somebody else may have taken it.
        if tries == 1 or "address already in use" not in str(error):
            raise
        return _started(folder, servers, tries - 1)
    return front, process


def doors(front: Server, count: int, transports: list[str]) -> list[Server]:
    """The front from as many addresses, each of which Caddy leads to another server."""
    found: dict[str, Server] = {}
    for number in range(1, 100):
        door = copy.copy(front)
        door.clients_at, door.transports = f"127.0.7.{number}", transports
        with httpx.Client(
            transport=httpx.HTTPTransport(local_address=door.clients_at), timeout=10
        ) as http:
            cookie = http.get(f"{front.url}/test").cookies["quest_node"]
        found.setdefault(cookie, door)
        if len(found) == count:
            return list(found.values())
    raise AssertionError(f"Caddy spreads its clients over {len(found)} servers only")


def _wait(front: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{front.url}/test", timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"Caddy did not start:\n{log.read_text()[-3000:]}")
