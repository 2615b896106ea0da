"""Prometheus metrics: counters as things happen, gauges read from state at scrape time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from quest_backend.fleet.devices import FleetView, low_battery_ids
from quest_backend.protocol import catalogue
from quest_backend.protocol.limits import LOW_BATTERY_LEVEL

disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs is untyped


@dataclass(frozen=True, slots=True)
class Live:
    """What gauges ask for at scrape time, beside the fleet."""

    connected_by_type: Callable[[], dict[str, int]]
    dashboard_subscribers: Callable[[], int]
    active_sessions: Callable[[], int]
    dependencies_up: Callable[[], dict[str, bool]]
    loop_tasks: Callable[[], int]
    nodes: Callable[[], int]


class FrameCounts:
    """What the hot path counts: plain numbers, turned into metrics when they are scraped."""

    # Upper bounds of turing_frame_batch_size.
    BOUNDS = (1, 2, 3, 4, 5, 10)

    __slots__ = ("batches", "dropped", "gathered_sum", "received", "sent", "sent_v2")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.sent_v2 = 0
        self.dropped = 0
        self.batches = [0] * (len(self.BOUNDS) + 1)
        self.gathered_sum = 0

    def gathered(self, count: int) -> None:
        """A send, for which ``count`` frames had gathered."""
        self.gathered_sum += count
        # Counts up to 5 have a bucket each; 0 goes with 1.
        self.batches[max(0, count - 1) if count <= 5 else 5 if count <= 10 else 6] += 1

    def families(self) -> Iterator[Metric]:
        """``turing_frames_dropped_total`` and ``turing_frame_batch_size``."""
        yield CounterMetricFamily(
            "turing_frames_dropped", "Frames throttled, replaced or skipped", value=self.dropped
        )
        total, buckets = 0, []
        for bound, count in zip([*map(float, self.BOUNDS), "+Inf"], self.batches, strict=True):
            total += count
            buckets.append((str(bound), total))
        yield HistogramMetricFamily(
            "turing_frame_batch_size",
            "Frames gathered per send",
            buckets=buckets,
            sum_value=self.gathered_sum,
        )


@dataclass(slots=True)
class BusCounts:
    """What crosses between nodes and may be lost. Plain numbers, as for frames."""

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    lost: int = 0

    def families(self) -> Iterator[Metric]:
        """``turing_bus_messages_total``, ``…_sent_bytes_total``, ``…_lost_total``."""
        messages = CounterMetricFamily(
            "turing_bus_messages", "Frames, status, telemetry between nodes", labels=["direction"]
        )
        messages.add_metric(["out"], self.sent)
        messages.add_metric(["in"], self.received)
        yield messages
        yield CounterMetricFamily(
            "turing_bus_sent_bytes", "Bytes of these, published", value=self.sent_bytes
        )
        yield CounterMetricFamily(
            "turing_bus_lost", "Of these, replaced by newer ones or dropped", value=self.lost
        )


class Metrics:
    """Every metric of the server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        PlatformCollector(registry=r)
        GCCollector(registry=r)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=r)

        def histogram(name: str, text: str, buckets: list[float], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=r)

        minutes = [10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0]
        self.device_connections = counter(
            "turing_device_connections_total", "Connection events", "type", "event"
        )
        self.lock_operations = counter(
            "turing_device_lock_operations_total", "Lock operations", "operation", "success"
        )
        self.sessions_created = counter("turing_sessions_created_total", "Sessions created")
        self.session_duration = histogram(
            "turing_session_duration_seconds", "Session duration", minutes
        )
        self.upload_duration = histogram(
            "turing_upload_duration_seconds", "Upload duration", minutes, "file_type"
        )
        self.upload_size = histogram(
            "turing_upload_size_bytes",
            "Upload size",
            [2.0**power for power in range(20, 38, 2)],
            "file_type",
        )
        self.upload_errors = counter("turing_upload_errors_total", "Upload errors", "error_type")
        self.upload_bytes = counter(
            "turing_upload_bytes_total", "Total bytes uploaded", "file_type"
        )
        self.uploads_in_progress = 0
        self.passed_bytes = counter(
            "turing_storage_passed_bytes_total",
            "Bytes between clients and the embedded store",
            "direction",
        )
        self.qa_scored = counter(
            "turing_qa_scored_total", "Recordings measured, on any node", "verdict"
        )
        self.qa_score = histogram(
            "turing_qa_score",
            "Overall quality scores as they were measured",
            [20.0, 40.0, 60.0, 70.0, 80.0, 85.0, 90.0, 95.0, 100.0],
        )
        self.qa_delay = histogram(
            "turing_qa_delay_seconds",
            "From the end of an upload to its score; of those scored within an hour",
            [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0],
        )
        self.qa_sessions: dict[str, dict[str, int]] = {}
        self.qa_averages: dict[str, float] = {}
        self.qa_jobs: dict[str, int] = {}
        self.socket_messages = counter(
            "turing_socket_messages_total", "Socket messages", "event_type", "direction"
        )
        self.socket_events = counter("turing_socket_events_total", "Events received", "event")
        self.refused_events = counter(
            "turing_socket_events_refused_total", "Events refused", "event", "reason"
        )
        self.frames = FrameCounts()
        self.bus = BusCounts()
        self._published: dict[tuple[str, str], int] = {}
        self.slow_clients = counter(
            "turing_slow_clients_disconnected_total", "Clients cut off because they read too slowly"
        )
        self.connection_duration = histogram(
            "turing_socket_connection_duration_seconds", "Socket lifetime", minutes, "type"
        )
        self.http_requests = counter(
            "turing_http_requests_total", "HTTP requests", "method", "route", "status_code"
        )
        self.http_duration = histogram(
            "turing_http_request_duration_seconds",
            "HTTP request duration",
            [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0],
            "method",
            "route",
            "status_code",
        )

    def watch(self, view: FleetView, live: Live) -> None:
        """Read the gauges from ``view`` and ``live`` from now on."""
        self.registry.register(_Gauges(view, live, self))

    def render(self) -> bytes:
        """The Prometheus text format."""
        self._publish_frame_messages()
        return generate_latest(self.registry)

    def _publish_frame_messages(self) -> None:
        frames, published = self.frames, self._published
        frame, v2, came = (
            catalogue.ON_HEADSET_FRAME_UPDATED.name,
            catalogue.ON_HEADSET_FRAME.name,
            catalogue.HEADSET_FRAME.name,
        )
        now = {
            (frame, "out"): frames.sent,
            (v2, "out"): frames.sent_v2,
            (came, "in"): frames.received,
        }
        for labels, count in now.items():
            self.socket_messages.labels(*labels).inc(count - published.get(labels, 0))
        self.socket_events.labels(came).inc(frames.received - published.get((came, "in"), 0))
        self._published = now


class _Gauges(Collector):
    def __init__(self, view: FleetView, live: Live, metrics: Metrics) -> None:
        self._view = view
        self._live = live
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics.frames.families()
        yield from self._metrics.bus.families()
        view = self._view
        online = view.online()
        connected = GaugeMetricFamily(
            "turing_connected_devices_total", "Connected devices", labels=["type"]
        )
        for device_type, count in self._live.connected_by_type().items():
            connected.add_metric([device_type], count)
        yield connected
        battery = GaugeMetricFamily(
            "turing_fleet_battery_level", "Battery, percent", labels=["device_id"]
        )
        for device_id, telemetry in view.telemetry.items():
            if "batteryLevel" in telemetry:
                battery.add_metric([device_id], telemetry["batteryLevel"] * 100)
        yield battery
        up = GaugeMetricFamily("turing_dependency_up", "Dependency answers", labels=["name"])
        for name, is_up in self._live.dependencies_up().items():
            up.add_metric([name], float(is_up))
        yield up
        yield from self._qa()
        plain = {
            "turing_locked_devices_total": (
                "Locked devices",
                sum(bool(device.locked_by) for device in view.devices.values()),
            ),
            "turing_recording_devices_total": (
                "Recording devices",
                sum(device.is_recording for device in online),
            ),
            "turing_sessions_active_total": ("Active sessions", self._live.active_sessions()),
            "turing_event_loop_tasks": ("Tasks of the event loop", self._live.loop_tasks()),
            "turing_nodes_alive": ("Servers that share this state store", self._live.nodes()),
            "turing_uploads_in_progress": ("Active uploads", self._metrics.uploads_in_progress),
            "turing_low_battery_devices_total": (
                "Devices with low battery",
                len(low_battery_ids(view, LOW_BATTERY_LEVEL)),
            ),
            "turing_dashboard_subscribers_total": (
                "Dashboard subscribers",
                self._live.dashboard_subscribers(),
            ),
        }
        for name, (text, value) in plain.items():
            yield GaugeMetricFamily(name, text, value=value)

    def _qa(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily(
            "turing_qa_sessions", "Measured recordings", labels=["verdict", "review"]
        )
        for verdict, reviews in self._metrics.qa_sessions.items():
            for review, count in reviews.items():
                sessions.add_metric([verdict, review], count)
        yield sessions
        averages = GaugeMetricFamily(
            "turing_qa_average_score", "Mean score of all measured recordings", labels=["stage"]
        )
        for stage, score in self._metrics.qa_averages.items():
            averages.add_metric([stage], score)
        yield averages
        jobs = GaugeMetricFamily("turing_qa_jobs", "Jobs of all nodes", labels=["state"])
        for state, count in self._metrics.qa_jobs.items():
            jobs.add_metric([state], count)
        yield jobs
