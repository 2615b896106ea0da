"""What happens in a run, and what should be seen."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quest_backend.protocol import catalogue
from quest_backend.simulator.devices import SimulatedDashboard, SimulatedHeadset, SimulatedTablet
from quest_backend.simulator.report import Report


@dataclass(slots=True)
class Stage:
    """Everything a scenario plays with. ``until`` is monotonic seconds, None for ever."""

    headsets: list[SimulatedHeadset]
    tablets: list[SimulatedTablet]
    dashboard: SimulatedDashboard
    report: Report
    locked_per_tablet: int
    until: float | None
    random: random.Random

    def share(self, index: int) -> list[SimulatedHeadset]:
        """The headsets of one tablet."""
        size = self.locked_per_tablet
        return self.headsets[index * size : (index + 1) * size]

    def left_s(self) -> float:
        """Seconds until the end of the run."""
        return float("inf") if self.until is None else max(0.0, self.until - time.monotonic())


# A demo may run for days.
_EXPECTATIONS_KEPT = 50
_UPLOAD_S = 60.0
# Wi-Fi that flaps is gone for 1 to 5 s; in a short run for at most a quarter of what is left.
_AWAY_S = (1.0, 5.0)


def away_s(stage: Stage) -> tuple[float, float]:
    """Shortest and longest loss of a connection, seconds."""
    longest = max(0.2, min(_AWAY_S[1], stage.left_s() / 4))
    return min(_AWAY_S[0], longest), longest


async def eventually(what: Callable[[], Any], timeout_s: float = 10.0) -> bool:
    """Whether ``what`` comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def _open(stage: Stage, tablet: SimulatedTablet, mine: list[SimulatedHeadset]) -> str:
    """Lock, create and start; the session's id."""
    ids = [headset.device_id for headset in mine]
    locked = await tablet.ask(catalogue.TABLET_LOCK_DEVICES, catalogue.ON_DEVICES_LOCKED, ids)
    stage.report.expect("devices locked", sorted(locked["locked"]) == sorted(ids), locked)
    created = await tablet.ask(
        catalogue.TABLET_CREATE_SESSION,
        catalogue.ON_SESSION_CREATED,
        {"deviceIds": ids, "metadata": {"participant": "P001", "task": "pick and place"}},
    )
    tablet.session_state = "pending"
    session_id = str(created["sessionId"])
    await tablet.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session_id)
    tablet.session_state = "recording"
    return session_id


async def _close(stage: Stage, tablet: SimulatedTablet, session_id: str,
                 mine: list[SimulatedHeadset]) -> None:  # fmt: skip
    ended = await tablet.ask(catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, session_id)
    tablet.session_state = "completed"
    stage.report.expect("session ended", ended["sessionId"] == session_id, ended)
    stopped = await eventually(lambda: not any(headset.recording for headset in mine))
    stage.report.expect("all headsets stopped", stopped)
    await tablet.ask(catalogue.TABLET_UNLOCK_ALL_DEVICES, catalogue.ON_ALL_DEVICES_UNLOCKED)
    recorders = [headset.recorder for headset in mine if headset.recorder is not None]
    if recorders:
        arrived = await eventually(
            lambda: all(
                not recorder.busy
                and tablet.uploads.get((session_id, recorder.device_id)) == "completed"
                for recorder in recorders
            ),
            _UPLOAD_S,
        )
        files = sum(len(recorder.uploaded) for recorder in recorders)
        stage.report.expect("all recordings arrive", arrived, f"{files} files")


async def session(stage: Stage) -> None:
    """Each tablet locks its headsets and runs a session: start, pause, resume, end."""
    await asyncio.gather(
        *(_one_tablet(stage, index, tablet) for index, tablet in enumerate(stage.tablets))
    )


async def _one_tablet(stage: Stage, index: int, tablet: SimulatedTablet) -> None:
    mine = stage.share(index)
    if not mine:
        return
    take_s = min(4.0, max(0.5, stage.left_s() / 5))
    while True:
        session_id = await _open(stage, tablet, mine)
        recording = await eventually(lambda: all(headset.recording for headset in mine))
        stage.report.expect("all headsets record", recording)
        frames = tablet.frames
        tablet.pictures.clear()
        await asyncio.sleep(take_s)
        if stage.headsets[0].frames_sent:
            stage.report.expect(
                "previews arrive and change",
                tablet.frames > frames and len(tablet.pictures) > 1,
                f"{tablet.frames - frames} frames, {len(tablet.pictures)} pictures",
            )
        await tablet.ask(catalogue.TABLET_PAUSE_SESSION, catalogue.ON_SESSION_PAUSED, session_id)
        tablet.session_state = "paused"
        paused = await eventually(lambda: not any(headset.recording for headset in mine))
        stage.report.expect("pause stops all headsets", paused)
        await asyncio.sleep(take_s / 4)
        await tablet.ask(catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, session_id)
        tablet.session_state = "recording"
        resumed = await eventually(lambda: all(headset.recording for headset in mine))
        stage.report.expect("resume records again", resumed)
        await asyncio.sleep(take_s)
        await _close(stage, tablet, session_id, mine)
        if stage.left_s() < 3 * take_s + 5:
            return
        stage.report.trim(_EXPECTATIONS_KEPT)
        await asyncio.sleep(take_s / 2)


async def reconnect_storm(stage: Stage) -> None:
    """All headsets lose their connection in a session and come back at once."""
    tablet, mine = stage.tablets[0], stage.share(0)
    session_id = await _open(stage, tablet, mine)
    await eventually(lambda: all(headset.recording for headset in mine))
    await eventually(lambda: len(stage.dashboard.online()) >= len(stage.headsets))
    before = [headset.reconnects for headset in stage.headsets]
    started = time.monotonic()
    await asyncio.gather(*(headset.cut() for headset in stage.headsets))
    back = await eventually(
        lambda: all(
            headset.identified and headset.connected and headset.reconnects > count
            for headset, count in zip(stage.headsets, before, strict=True)
        ),
        60,
    )
    stage.report.expect("all headsets came back", back)
    ids = {headset.device_id for headset in stage.headsets}
    online = await eventually(lambda: ids <= stage.dashboard.online(), 30)
    stage.report.expect("all online again", online)
    stage.report.numbers["storm"] = f"{time.monotonic() - started:.2f} s until all were online"
    kept = await eventually(
        lambda: all(tablet.locks.get(headset.device_id) == tablet.sid for headset in mine), 15
    )
    stage.report.expect("no lock lost", kept)
    active = await tablet.ask(catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION)
    stage.report.expect("its session is there", active and active["sessionId"] == session_id)
    stage.report.expect(
        "session goes on", await eventually(lambda: all(headset.recording for headset in mine))
    )
    await _close(stage, tablet, session_id, mine)


async def flapping_wifi(stage: Stage) -> None:
    """Headsets of a session drop now and then, and keep their place."""
    tablet, mine = stage.tablets[0], stage.share(0)
    session_id = await _open(stage, tablet, mine)
    await eventually(lambda: all(headset.recording for headset in mine))
    end = time.monotonic() + min(stage.left_s() * 0.6, 60)
    away = away_s(stage)
    cuts = crashes = 0
    while time.monotonic() < end:
        there = [headset for headset in mine if headset.connected and headset.identified]
        if there:
            headset = stage.random.choice(there)
            await headset.cut(stage.random.uniform(*away))
            if cuts % 2:
                headset.crash()
                crashes += 1
            cuts += 1
        await asyncio.sleep(stage.random.uniform(0.5, 2))
    stage.report.numbers["cuts"] = f"{cuts}, {crashes} of them with the app started again"
    back = await eventually(lambda: all(h.connected and h.recording for h in mine), 20)
    stage.report.expect("all are back and record", back)
    ids = sorted(headset.device_id for headset in mine)
    now = await tablet.ask(catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session_id)
    stage.report.expect(
        "all kept their place", sorted(now["deviceIds"]) == ids and now["status"] == "recording"
    )
    await _close(stage, tablet, session_id, mine)


async def vanishing_tablet(stage: Stage) -> None:
    """The tablet is gone for a second in a session, and comes back to its locks and session."""
    tablet, mine = stage.tablets[0], stage.share(0)
    session_id = await _open(stage, tablet, mine)
    await eventually(lambda: all(headset.recording for headset in mine))
    old = tablet.sid
    await tablet.cut(away_s(stage)[0])
    back = await eventually(lambda: tablet.connected and tablet.sid not in ("", old), 30)
    stage.report.expect("tablet came back", back)
    moved = await eventually(
        lambda: all(tablet.locks.get(headset.device_id) == tablet.sid for headset in mine)
    )
    stage.report.expect("locks moved to its new socket", moved, tablet.sid)
    active = await tablet.ask(catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION)
    stage.report.expect("its session is there", active and active["sessionId"] == session_id)
    stage.report.expect("nobody stopped", all(headset.recording for headset in mine))
    await _close(stage, tablet, session_id, mine)
