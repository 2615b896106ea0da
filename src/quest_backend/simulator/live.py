"""A short live summary in the terminal."""

import asyncio
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quest_backend.simulator.devices import SimulatedHeadset, SimulatedTablet

_REDRAW_S = 0.5
_PLAIN_S = 5.0
_MAX_ROWS = 12
_BAR = 6


class LiveSummary:
    """Devices, battery, recording, frames per second, session states."""

    def __init__(
        self, url: str, headsets: list[SimulatedHeadset], tablets: list[SimulatedTablet]
    ) -> None:
        self._url = url
        self._headsets = headsets
        self._tablets = tablets
        self._started = time.monotonic()
        self._last = (self._started, [0] * len(headsets), 0)
        self._sent = [0.0] * len(headsets)
        self._seen = 0.0

    def measure(self) -> None:
        """Take the rates since the last time."""
        at, sent, seen = self._last
        now = time.monotonic()
        span = max(now - at, 1e-6)
        counts = [headset.frames_sent for headset in self._headsets]
        total = sum(tablet.frames for tablet in self._tablets)
        self._sent = [(new - old) / span for new, old in zip(counts, sent, strict=True)]
        self._seen = (total - seen) / span
        self._last = (now, counts, total)

    def line(self) -> str:
        """One plain line."""
        online = sum(headset.connected for headset in self._headsets)
        recording = sum(headset.recording for headset in self._headsets)
        states = ", ".join(f"{t.device_id}: {t.session_state}" for t in self._tablets)
        return (
            f"{time.monotonic() - self._started:5.0f} s  {online}/{len(self._headsets)} online  "
            f"{recording} recording  {self._seen:.0f} frames/s to tablets  {states}"
        )

    def table(self) -> RenderableType:
        """The whole picture, at most 18 lines of 80 columns."""
        table = Table(expand=False, header_style="bold")
        for title in ("headset", "battery", "locked by", "state"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        table.add_column("frames/s", justify="right", no_wrap=True)
        owners = {tablet.sid: tablet.device_id for tablet in self._tablets}
        locks = next((tablet.locks for tablet in self._tablets if tablet.locks), {})
        for headset, rate in list(zip(self._headsets, self._sent, strict=True))[:_MAX_ROWS]:
            filled = round(headset.battery * _BAR)
            holder = locks.get(headset.device_id, "")
            table.add_row(
                headset.device_id,
                f"{'█' * filled}{'░' * (_BAR - filled)} {headset.battery:4.0%}",
                owners.get(holder, holder[:8]) or "-",
                _state(headset),
                f"{rate:.0f}",
            )
        hidden = len(self._headsets) - _MAX_ROWS
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"{self._url}   {time.monotonic() - self._started:.0f} s")
        head.append(f"   {self._seen:.0f} frames/s to tablets")
        if hidden > 0:
            head.append(f"   and {hidden} more headsets")
        sessions = Text("sessions: ", style="bold", no_wrap=True, overflow="ellipsis")
        for tablet in self._tablets:
            sessions.append(f"{tablet.device_id} {tablet.session_state}   ", style="cyan")
        return Group(head, table, sessions)

    async def show(self, console: Console) -> None:
        """Redraw until cancelled; without a terminal, a plain line now and then."""
        if not console.is_terminal:
            while True:
                await asyncio.sleep(_PLAIN_S)
                self.measure()
                console.print(self.line(), highlight=False)
        with Live(self.table(), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_REDRAW_S)
                self.measure()
                live.update(self.table(), refresh=True)


def _state(headset: SimulatedHeadset) -> str:
    if not headset.connected:
        return "[yellow]✗ offline[/]"
    if headset.recording:
        return "[red]● recording[/]"
    if headset.recorder is not None and headset.recorder.progress is not None:
        return f"[cyan]↑ upload {headset.recorder.progress:.0%}[/]"
    return "[dim]○ idle[/]"
