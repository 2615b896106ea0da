"""What the features of the socket edge share, and how a committed change is announced."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from quest_backend import tasks
from quest_backend.clock import Clock
from quest_backend.fleet.devices import Device, FleetView
from quest_backend.metrics import Metrics
from quest_backend.realtime.connections import DASHBOARDS, Connections
from quest_backend.realtime.gathering import Gathering
from quest_backend.realtime.lists import ListBroadcaster
from quest_backend.realtime.outbox import Feed, Outbox
from quest_backend.settings import Settings
from quest_backend.state.audit import AuditTrail
from quest_backend.state.changes import Changes
from quest_backend.state.fleet import FleetStore
from quest_backend.state.nodes import NodeRegistry
from quest_backend.state.sessions import SessionStore
from quest_backend.state.telemetry import TelemetryWriter

log = structlog.get_logger()


@dataclass(slots=True)
class Hub:
    """One node's working parts."""

    settings: Settings
    clock: Clock
    view: FleetView
    store: FleetStore
    sessions: SessionStore
    telemetry: TelemetryWriter
    audit: AuditTrail
    changes: Changes
    nodes: NodeRegistry
    connections: Connections
    gathering: Gathering
    outbox: Outbox
    dashboards: Feed
    lists: ListBroadcaster
    metrics: Metrics
    # The store may not know what has happened here: reconciled after the next heartbeat.
    unsure: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def committed(self, devices: Iterable[Device], *, force: bool = False) -> bool:
        """Devices changed in the store: tell dashboards at once, everybody by the lists.

        True if any was news. With ``force``, what was known counts for nothing.
        """
        before = self.view.version
        news = False
        for device in devices:
            if self.view.apply(device, force=force):
                news = True
                self.tell_dashboards(device.device_id)
        if self.view.version != before:
            self.lists.changed()
        return news

    def seen(self, device_id: str, at: str, telemetry: dict[str, Any]) -> Device | None:
        """A headset's telemetry came at ``at``: the view and dashboards have it."""
        named = self.view.name(device_id)
        device = self.view.seen(device_id, at, telemetry)
        if device is None:
            return None
        if self.view.name(device_id) != named:
            self.view.version += 1
            self.lists.changed()
        self.tell_dashboards(device_id)
        return device

    def tell_dashboards(self, device_id: str) -> None:
        """Send a device's state as it is now."""
        if self.connections.room(DASHBOARDS):
            self.dashboards.send(device_id, self.view.state(device_id))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside; a failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_work_failed", exc_info=error)

    async def close(self) -> None:
        """Stop what runs beside."""
        self.lists.close()
        await tasks.end(list(self._tasks))
