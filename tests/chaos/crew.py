"""Headsets and operators: what they do meanwhile, and what they were promised."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from chaos.lines import Line
from chaos.observation import HeadsetSide, Promise, StoredFile, TabletSide, Takes
from quest_backend.protocol import catalogue
from quest_backend.protocol.events import Inbound, Outbound
from quest_backend.protocol.recordings import FILE_NAMES, FileType
from quest_backend.simulator import recordings
from quest_backend.simulator.client import RequestFailed, SimulatedClient
from quest_backend.simulator.devices import SimulatedHeadset, SimulatedTablet
from quest_backend.simulator.recordings import Take
from quest_backend.simulator.uploads import Recorder

_ASK_S = 4.0
# A starved server may come to what was asked on a connection that is long gone.
_DONE_BY_S = 10.0
_TAKE_S = 1.0
# A headset whose server is away waits for it; what is tried here is not its patience.
_PATIENCE_S = 600.0
# More than one part of 5 MiB, in a box that players skip: ISO 14496-12, 8.1.2.
_LONG_BYTES = 6 * 1024 * 1024
_PADDING = (_LONG_BYTES.to_bytes(4) + b"free").ljust(_LONG_BYTES, b"\0")
_OVER = frozenset({"completed", "uploading"})


class Missed(SimulatedClient):
    """A client that says so when it was away for longer than its grace: it may have lost its place.

    ``fixed`` lines wait for their server, however long that is down.
    """

    line: Line
    grace_s = float("inf")
    late: Callable[[], None] = staticmethod(lambda: None)
    _left_at: float | None = None

    async def _on_disconnect(self, *args: Any) -> None:
        if self._left_at is None:
            self._left_at = time.monotonic()
        await super()._on_disconnect(*args)

    async def on_connected(self) -> None:
        """It is back."""
        await super().on_connected()
        # The server missed it at this time at the earliest.
        if self._left_at is not None and time.monotonic() - self._left_at > self.grace_s:
            self.late()
        self._left_at = None


class ChaosTablet(Missed, SimulatedTablet):
    """An operator's tablet on a line of its own."""


class ChaosHeadset(Missed, SimulatedHeadset):
    """A headset on a line of its own. A ``patient`` one stays when it is told to come back later."""

    patient = False
    absent = False

    async def on_connected(self) -> None:
        """Say who it is; a patient one leaves the rest to the server when the store is away."""
        try:
            await super().on_connected()
        except RequestFailed:
            unavailable = bool(self.errors) and self.errors[-1]["code"] == "UNAVAILABLE"
            if not (self.patient and unavailable and self.connected):
                raise
            self.identified = True
            await self.send(catalogue.HEADSET_RECORDING_STATE, self.recording)

    def side(self) -> HeadsetSide:
        """As it sees itself."""
        return HeadsetSide(self.sid if self.connected else "", self.recording, self.absent)

    def made(self) -> Takes:
        """What it has recorded and stored."""
        assert self.recorder is not None
        files = [(one.key, StoredFile(one.size, one.etag)) for one in self.recorder.uploaded]
        return Takes(self.recorder.takes, tuple(files), tuple(self.recorder.failed))


def recorder_of(headset: ChaosHeadset, token: str, encoders: asyncio.Semaphore, *,
                long: bool) -> Recorder:  # fmt: skip
    """Real files of a second each; a ``long`` video has several parts."""

    def make(take: Take, folder: Path) -> dict[FileType, Path]:
        short = replace(take, seconds=_TAKE_S)
        paths = {file_type: folder / name for file_type, name in FILE_NAMES.items()}
        recordings.write_data(short, paths[FileType.DATA])
        paths[FileType.VIDEO].write_bytes(_video() + (_PADDING if long else b""))
        return paths

    return Recorder(headset.url, headset.device_id, token, encoders, make, _PATIENCE_S)


@cache
def _video() -> bytes:
    """A second of H.264, encoded once: encoding sixty of them is not what is tried here."""
    with tempfile.TemporaryDirectory(prefix="quest-chaos-") as folder:
        path = Path(folder) / FILE_NAMES[FileType.VIDEO]
        recordings.write_video(Take("CHAOS", datetime.now(UTC), _TAKE_S, 1), path)
        return path.read_bytes()


class Operator:
    """A tablet, its headsets, and a person who starts, pauses and ends sessions on them."""

    def __init__(self, tablet: ChaosTablet, headsets: Sequence[ChaosHeadset]) -> None:
        self.tablet = tablet
        tablet.late = self._may_have_walked_off
        for headset in headsets:
            headset.late = partial(self._may_have_lost, headset.device_id)
        self.absent = False
        self.asked = self.unanswered = 0
        self._mine = sorted(headset.device_id for headset in headsets)
        self._sessions: dict[str, Promise] = {}
        self._locked: set[str] = set()
        self._perhaps: set[str] = set()
        self._asked_at: dict[str, float] = {}
        self._unclear: set[str] = set()  # sessions whose last request was not answered
        # Asked for and not answered: locks, or all locks back.
        self._wish: Inbound | None = None

    @property
    def line(self) -> Line:
        """The tablet's."""
        return self.tablet.line

    def side(self) -> TabletSide:
        """As it sees itself."""
        tablet = self.tablet
        return TabletSide(
            tablet.sid if tablet.connected else "",
            dict(self._sessions),
            frozenset(self._locked),
            frozenset(self._perhaps),
            {device_id: holder for device_id, holder in tablet.locks.items() if holder},
            self.absent,
            not self._unclear and self._wish is None,
        )

    def _open(self) -> list[str]:
        return [one for one, promise in self._sessions.items() if not promise.statuses <= _OVER]

    async def work(self, enough: asyncio.Event, chance: random.Random) -> None:
        """One thing after another until it is ``enough``, whatever happens."""
        while not enough.is_set():
            if self.tablet.connected and not self.absent:
                with contextlib.suppress(RequestFailed):
                    await self._clarify()
                    await self._step(chance)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(1, 5)):
                    await enough.wait()

    async def settle(self) -> None:
        """Find out what became of requests that were not answered, as far as it gets answers."""
        if self.tablet.connected and not self.absent:
            with contextlib.suppress(RequestFailed):
                await self._clarify()

    async def end_all(self) -> None:
        """End what is open and give everything back."""
        for _ in range(5):
            with contextlib.suppress(RequestFailed):
                await self._clarify()
                for session_id in self._open():
                    if len(self._sessions[session_id].statuses) > 1:
                        await self._narrow(session_id)
                for session_id in self._open():
                    await self._act(
                        session_id, catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, _OVER
                    )
                await self._unlock()
                return
            await asyncio.sleep(1)

    async def _ask(self, event: Inbound, reply: Outbound, *args: Any) -> Any:
        self.asked += 1
        try:
            return await self.tablet.ask(event, reply, *args, timeout_s=_ASK_S)
        except RequestFailed:
            self.unanswered += 1
            raise

    async def _step(self, chance: random.Random) -> None:
        open_ = self._open()
        if not open_:
            await self._begin(chance)
            return
        status, *others = self._sessions[open_[0]].statuses
        if others:
            if time.monotonic() - self._asked_at.get(open_[0], 0.0) > _DONE_BY_S:
                await self._narrow(open_[0])
            return
        if status != "recording" and chance.random() < 0.8:
            await self._start(open_[0])
        elif chance.random() < 0.3:
            await self._end(open_[0], chance)
        elif status == "recording" and chance.random() < 0.3:
            await self._act(
                open_[0], catalogue.TABLET_PAUSE_SESSION, catalogue.ON_SESSION_PAUSED, {"paused"}
            )

    async def _begin(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            await self._lock()
        created = await self._ask(
            catalogue.TABLET_CREATE_SESSION,
            catalogue.ON_SESSION_CREATED,
            {"deviceIds": self._mine, "metadata": {"task": "chaos"}},
        )
        session_id = str(created["sessionId"])
        self._sessions[session_id] = Promise(
            frozenset({"pending"}), frozenset(created["deviceIds"])
        )
        await self._start(session_id)

    async def _start(self, session_id: str) -> None:
        await self._act(
            session_id, catalogue.TABLET_START_SESSION, catalogue.ON_SESSION_STARTED, {"recording"}
        )

    async def _end(self, session_id: str, chance: random.Random) -> None:
        await self._act(session_id, catalogue.TABLET_END_SESSION, catalogue.ON_SESSION_ENDED, _OVER)
        if chance.random() < 0.5:
            await self._unlock()

    async def _act(
        self, session_id: str, event: Inbound, reply: Outbound, after: AbstractSet[str]
    ) -> None:
        before = self._sessions[session_id]
        self._sessions[session_id] = replace(before, statuses=before.statuses | after)
        self._unclear.add(session_id)
        self._asked_at[session_id] = time.monotonic()
        await self._ask(event, reply, session_id)
        now = self._sessions[session_id]
        self._sessions[session_id] = replace(now, statuses=frozenset(after))
        self._unclear.discard(session_id)

    async def _lock(self) -> None:
        self._wish = catalogue.TABLET_LOCK_DEVICES
        reply = await self._ask(self._wish, catalogue.ON_DEVICES_LOCKED, self._mine)
        self._locked |= set(reply["locked"])
        self._perhaps -= set(reply["locked"])
        self._wish = None

    async def _unlock(self) -> None:
        self._wish = catalogue.TABLET_UNLOCK_ALL_DEVICES
        await self._ask(self._wish, catalogue.ON_ALL_DEVICES_UNLOCKED)
        self._locked.clear()
        self._perhaps.clear()
        self._wish = None

    async def _clarify(self) -> None:
        for session_id in sorted(self._unclear):
            now = await self._ask(
                catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session_id
            )
            if now["sessionId"] != session_id:
                return  # an answer that came late
            # What was asked on a lost connection may still be done: both outcomes stay possible.
            self._unclear.discard(session_id)
        if not self._open():
            active = await self._ask(
                catalogue.TABLET_GET_ACTIVE_SESSION, catalogue.ON_ACTIVE_SESSION
            )
            if active is not None and active["sessionId"] not in self._sessions:
                # It was made, and only the answer was lost.
                self._sessions[active["sessionId"]] = Promise(
                    frozenset({active["status"]}), frozenset(active["deviceIds"])
                )
        if self._wish is catalogue.TABLET_LOCK_DEVICES:
            await self._lock()
        elif self._wish is not None:
            await self._unlock()

    async def _narrow(self, session_id: str) -> None:
        """By now whatever was asked for has been done, or will not be."""
        now = await self._ask(catalogue.TABLET_GET_SESSION, catalogue.ON_SESSION_STATUS, session_id)
        known = self._sessions[session_id]
        if now["sessionId"] == session_id and now["status"] in known.statuses:
            found = _OVER if now["status"] in _OVER else frozenset({now["status"]})
            self._sessions[session_id] = replace(known, statuses=found)

    def walked_off(self) -> None:
        """It has been away for its grace: everything it held is given back."""
        for session_id in self._open():
            self._sessions[session_id] = replace(self._sessions[session_id], statuses=_OVER)
        self._locked.clear()
        self._unclear.clear()
        self._wish = None

    def _may_have_walked_off(self) -> None:
        """It was away for so long that what it held may have been given back."""
        for session_id in self._open():
            known = self._sessions[session_id]
            self._sessions[session_id] = replace(known, statuses=known.statuses | _OVER)
        self._perhaps |= self._locked
        self._locked.clear()

    def _may_have_lost(self, device_id: str) -> None:
        if device_id in self._locked:
            self._perhaps.add(device_id)
        self.lost(device_id)

    def lost(self, device_id: str) -> None:
        """A headset has been away for its grace: it is not this tablet's any more."""
        self._locked.discard(device_id)
        for session_id in self._open():
            known = self._sessions[session_id]
            self._sessions[session_id] = replace(known, left=known.left | {device_id})
