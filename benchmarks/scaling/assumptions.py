"""What the model takes for granted: the fields of ``assumptions.toml``. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Fleet:
    """What people and headsets do: assumptions, to be changed in ``assumptions.toml``."""

    fps: float
    frame_kb: float
    telemetry_hz: float
    watched_share: float
    viewers_per_watched: float
    headsets_per_tablet: float
    headsets_per_dashboard: float
    changes_per_headset_hour: float
    takes_per_headset_hour: float
    take_video_gib: float
    take_data_gib: float
    hours_per_month: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """How full machines may be, and what their networks carry."""

    core_share: float
    dashboard_messages_per_s: float
    network_gbit: float
    network_share: float
    s3_writes_per_s_and_prefix: float


@dataclass(frozen=True, slots=True)
class Prices:
    """In US dollars."""

    core_hour: float
    valkey_hour: float
    per_1000_writes: float
    per_1000_reads: float
    gib_month_standard: float
    gib_month_intelligent: float
    gib_month_deep_archive: float


@dataclass(frozen=True, slots=True)
class Assumptions:
    """All that is not measured."""

    fleet: Fleet
    sizing: Sizing
    prices: Prices

    @classmethod
    def of(cls, tables: Mapping[str, Mapping[str, Any]]) -> Self:
        """From ``assumptions.toml``'s tables.

        Raises:
            ValueError: a name that is unknown or missing, or no positive number.
        """
        made = {}
        for name, kind in (("fleet", Fleet), ("sizing", Sizing), ("prices", Prices)):
            values = dict(tables.get(name, {}))
            wanted = set(kind.__dataclass_fields__)
            if wrong := wanted ^ set(values):
                raise ValueError(f"[{name}]: unknown or missing: {', '.join(sorted(wrong))}")
            for key, value in values.items():
                if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                    raise ValueError(f"[{name}] {key}: a number from 0, not {value!r}")
            made[name] = kind(**values)
        return cls(**made)  # type: ignore[arg-type]  # each name has its kind in the loop above
