"""One run of the load generator against one server."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers

from quest_backend.protocol.events import DeviceType
from quest_backend.tokens import Tokens

_SETUP_S = 180


class LoadFailed(Exception):  # noqa: N818 - reads as what it says
    """The clients could not do their part; the message is the generator's."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who is played, and what they send. Rates are per headset; viewers are spread evenly.

    Where there are several servers: headsets are on the first ``headset_servers`` (0: on all),
    their viewers ``viewer_shift`` servers further.
    """

    headsets: int = 0
    viewers: int = 0
    dashboards: int = 0
    idle: int = 0
    slow: int = 0
    fps: float = 0
    frame_bytes: int = 40_000
    telemetry_hz: float = 0
    warmup: float = 2
    seconds: float = 8
    inflight: int = 64
    headset_servers: int = 0
    viewer_shift: int = 0

    def arguments(self) -> list[str]:
        """As the generator reads them."""
        names = self.__dataclass_fields__
        return [f"--{name.replace('_', '-')}={getattr(self, name):g}" for name in names]


def write_tokens(path: Path) -> None:
    """Tokens for as many clients as any run has."""
    tokens = Tokens(servers.JWT_SECRET, "unused")
    counts = {DeviceType.HEADSET: 6000, DeviceType.TABLET: 3000, DeviceType.DASHBOARD: 100}
    with path.open("w") as file:
        for kind, count in counts.items():
            for number in range(count):
                device_id = f"BENCH_{kind.value[0].upper()}_{number:05d}"
                file.write(f"{kind.value} {device_id} {tokens.issue(device_id, kind)}\n")


def run(load: Load, server: servers.Running, tokens: Path) -> dict[str, Any]:
    """What the generator measured (see ``load.c``).

    ``others`` is the share of the server's core that other programs, or the host, took.

    Raises:
        LoadFailed: it could not connect everybody, lost or was refused somebody, or what arrived
            was nothing or damaged.
    """
    command = servers.pinned(
        servers.LOAD_CORE,
        str(servers.BUILD / "load"),
        f"--port={server.port}",
        f"--pid={server.pid}",
        f"--core={servers.SERVER_CORE}",
        f"--tokens={tokens}",
        *load.arguments(),
    )
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SETUP_S + load.warmup + load.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed("the load generator did not end") from None
    if done.returncode:
        raise LoadFailed(done.stderr.strip() or f"exit {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    if trouble := _trouble(load, result) or done.stderr.strip():
        raise LoadFailed(f"{trouble}; the server's log ends:\n{server.log.read_text()[-1500:]}")
    result["others"] = max(0.0, result["others_s"] / result["whole_s"])
    return result


def _trouble(load: Load, result: dict[str, Any]) -> str:
    if result["closed"]:
        return f"the server closed {result['closed']} connections"
    expected = {
        "frames": load.fps and load.viewers,
        "telemetry": load.telemetry_hz and load.dashboards,
        "slow": load.fps and load.slow,
    }
    missing = [kind for kind, some in expected.items() if some and not result[kind]["delivered"]]
    return f"nothing arrived: {', '.join(missing)}" if missing else ""
