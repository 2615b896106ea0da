"""One run of the simulator."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
from rich.console import Console
from socketio.exceptions import SocketIOError

from quest_backend.protocol.events import DeviceType
from quest_backend.simulator import pictures, scenarios
from quest_backend.simulator.client import (
    RequestFailed,
    SimulatedClient,
    SimulatorError,
    fetch_token,
)
from quest_backend.simulator.devices import SimulatedDashboard, SimulatedHeadset, SimulatedTablet
from quest_backend.simulator.live import LiveSummary
from quest_backend.simulator.report import Report

# So many clients connect at a time.
_PARALLEL = 32
# So many different scenes; further headsets show one of them again.
_SCENES = 8
# So many recordings are encoded at a time: each takes a core.
_ENCODERS = 2


class Scenario(StrEnum):
    """What happens."""

    SESSION = "session"
    RECONNECT_STORM = "reconnect-storm"
    FLAPPING_WIFI = "flapping-wifi"
    VANISHING_TABLET = "vanishing-tablet"


_PLAYS = {
    Scenario.SESSION: scenarios.session,
    Scenario.RECONNECT_STORM: scenarios.reconnect_storm,
    Scenario.FLAPPING_WIFI: scenarios.flapping_wifi,
    Scenario.VANISHING_TABLET: scenarios.vanishing_tablet,
}


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What to simulate. ``duration_s`` None: until cancelled."""

    url: str
    headsets: int = 8
    tablets: int = 1
    fps: float = 15
    duration_s: float | None = 30
    scenario: Scenario = Scenario.SESSION
    seed: int = 1
    live: bool = True
    uploads: bool = True
    enrollment_key: str | None = None
    locked_per_tablet: int = 4
    device_prefix: str = "SIMQUEST"
    transports: list[str] = field(default_factory=lambda: ["websocket"])


async def simulate(options: SimulatorOptions, console: Console | None = None) -> Report:
    """Run a scenario.

    Raises:
        SimulatorError: no server, no token, or no tablet for a scenario that needs one.
    """
    if options.tablets < 1 and options.scenario is not Scenario.SESSION:
        raise SimulatorError(f"scenario {options.scenario} needs a tablet: --tablets 1")
    report = Report(str(options.scenario))
    clients: list[SimulatedClient] = []
    shows: asyncio.Task[None] | None = None
    started = time.monotonic()
    try:
        headsets, tablets, dashboard = await _cast(options)
        clients = [*headsets, *tablets, dashboard]
        await _connect(clients)
        for headset in headsets:
            headset.run()
        if options.live and console is not None:
            summary = LiveSummary(options.url, headsets, tablets)
            shows = asyncio.get_running_loop().create_task(summary.show(console))
        until = None if options.duration_s is None else time.monotonic() + options.duration_s
        stage = scenarios.Stage(
            headsets, tablets, dashboard, report, options.locked_per_tablet, until,
            random.Random(options.seed),  # noqa: S311 - a replayable scenario
        )  # fmt: skip
        try:
            await _PLAYS[options.scenario](stage)
        except RequestFailed as failure:
            report.expect("every request is granted in 5 s", ok=False, detail=failure)
        rest = stage.left_s()
        await asyncio.sleep(rest if rest != float("inf") else 0)
        _look(report, headsets, tablets, dashboard, time.monotonic() - started)
    finally:
        if shows is not None:
            shows.cancel()
            await asyncio.gather(shows, return_exceptions=True)
        await asyncio.gather(*(client.stop() for client in clients), return_exceptions=True)
    return report


async def _cast(
    options: SimulatorOptions,
) -> tuple[list[SimulatedHeadset], list[SimulatedTablet], SimulatedDashboard]:
    width = max(4, len(str(options.headsets)))
    scenes = [
        pictures.loop(f"{options.device_prefix}_{scene + 1:0{width}d}")
        for scene in range(min(_SCENES, options.headsets) if options.fps > 0 else 0)
    ] or [[""]]
    timeout = aiohttp.ClientTimeout(total=30)
    gate = asyncio.Semaphore(_PARALLEL)
    async with aiohttp.ClientSession(timeout=timeout) as http:

        async def token(device_id: str, kind: DeviceType) -> str:
            async with gate:
                return await fetch_token(http, options.url, device_id, kind, options.enrollment_key)

        headset_ids = [
            f"{options.device_prefix}_{number:0{width}d}"
            for number in range(1, options.headsets + 1)
        ]
        tablet_ids = [f"{options.device_prefix}_TABLET_{n}" for n in range(1, options.tablets + 1)]
        dashboard_id = f"{options.device_prefix}_DASHBOARD"
        headset_tokens = await asyncio.gather(
            *(token(device_id, DeviceType.HEADSET) for device_id in headset_ids)
        )
        tablet_tokens = await asyncio.gather(
            *(token(device_id, DeviceType.TABLET) for device_id in tablet_ids)
        )
        dashboard_token = await token(dashboard_id, DeviceType.DASHBOARD)
    encoders = asyncio.Semaphore(_ENCODERS) if options.uploads else None
    headsets = [
        SimulatedHeadset(
            options.url, device_id, its_token, options.transports,
            frames=scenes[index % len(scenes)], fps=options.fps, seed=options.seed + index,
            encoders=encoders,
        )
        for index, (device_id, its_token) in enumerate(
            zip(headset_ids, headset_tokens, strict=True)
        )
    ]  # fmt: skip
    tablets = [
        SimulatedTablet(options.url, device_id, its_token, options.transports)
        for device_id, its_token in zip(tablet_ids, tablet_tokens, strict=True)
    ]
    dashboard = SimulatedDashboard(options.url, dashboard_id, dashboard_token, options.transports)
    return headsets, tablets, dashboard


async def _connect(clients: list[SimulatedClient]) -> None:
    gate = asyncio.Semaphore(_PARALLEL)

    async def one(client: SimulatedClient) -> None:
        async with gate:
            try:
                await client.connect()
            except (SocketIOError, TimeoutError, aiohttp.ClientError, RequestFailed) as error:
                raise SimulatorError(f"{client.device_id} cannot connect: {error}") from error

    results = await asyncio.gather(*(one(client) for client in clients), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        for client in clients:
            with contextlib.suppress(Exception):
                await client.stop()
        raise failed[0]


def _look(
    report: Report,
    headsets: list[SimulatedHeadset],
    tablets: list[SimulatedTablet],
    dashboard: SimulatedDashboard,
    seconds: float,
) -> None:
    ids = {headset.device_id for headset in headsets}
    online = ids & dashboard.online()
    report.expect("dashboard sees all online", online == ids, f"{len(online)} of {len(ids)}")
    errors = [error for client in (*headsets, *tablets, dashboard) for error in client.errors]
    report.expect("no event was refused", not errors, errors[:3] or "none")
    recorders = [headset.recorder for headset in headsets if headset.recorder is not None]
    failed = [failure for recorder in recorders for failure in recorder.failed]
    report.expect("no upload failed", not failed, failed[:3] or "none")
    sent = sum(headset.frames_sent for headset in headsets)
    report.numbers |= {
        "run": f"{seconds:.1f} s",
        "frames sent": str(sent),
        "previews to tablets": str(sum(tablet.frames for tablet in tablets)),
        "files uploaded": str(sum(len(recorder.uploaded) for recorder in recorders)),
        "reconnects": str(sum(headset.reconnects for headset in headsets)),
    }
