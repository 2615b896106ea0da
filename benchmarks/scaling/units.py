"""What one of each thing costs, as measured: the model's only input that is not an assumption."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one frame: ``fixed_us`` and ``us_per_kb`` (1,000 characters of base64)."""

    fixed_us: float
    us_per_kb: float = 0.0

    def us(self, kilobytes: float) -> float:
        """Microseconds for a frame of this size."""
        return self.fixed_us + self.us_per_kb * kilobytes

    @classmethod
    def through(cls, points: dict[float, float]) -> Self:
        """The line through ``{kilobytes: microseconds}``, of one or two sizes.

        Noise may bend it below what is possible: neither part is negative, and the larger size,
        where the most CPU goes, is met.
        """
        (small, low), (large, high) = min(points.items()), max(points.items())
        slope = 0.0 if large == small else max(0.0, (high - low) / (large - small))
        slope = min(slope, max(0.0, high) / large)
        return cls(max(0.0, high - slope * large), slope)


@dataclass(frozen=True, slots=True)
class Units:
    """Costs of a server (one process, one core) and of a Valkey; CPU in microseconds.

    Frames: ``frame_in`` is reading one that nobody watches, ``frame_check`` what it costs more when
    somebody does, ``frame_out`` each delivery, ``frame_publish`` and ``frame_receive`` its way to
    another server, ``bus_frame`` what Valkey does for that: once in, once out.
    """

    node_idle_us_per_s: float
    node_mib: float
    connection_us_per_s: float
    connection_kib: float
    headset_kib: float
    join_us: float
    join_state_us: float
    join_elsewhere_us: float
    telemetry_us: float
    telemetry_state_us: float
    telemetry_state_commands: float
    telemetry_state_bytes: float
    telemetry_shown_us: float
    telemetry_shown_bytes: float
    telemetry_elsewhere_us: float
    telemetry_bus_us: float
    telemetry_bus_bytes: float
    frame_in: Cost
    frame_check: Cost
    frame_out: Cost
    frame_publish: Cost
    frame_receive: Cost
    bus_frame: Cost
    bus_frame_overhead_bytes: float
    viewer_kib: float
    list_bytes_per_device: float
    list_us_per_kb: float
    scrape_us_per_device: float
    upload_us: float
    presign_us_per_part: float
    upload_requests: float
    upload_requests_per_part: float
    upload_state_commands: float
    qa_cpu_s: float
    qa_get_requests: float
