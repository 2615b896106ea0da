"""A tally in the shape of the schema's S3Stats. GB is 2**30 bytes, MB 2**20; no I/O.

Lists come in slices, so that a long one can be written without holding the event loop.
"""

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from quest_backend.clock import Clock
from quest_backend.storage.tally import (
    MP4,
    NPZ,
    STRAY_MP4,
    STRAY_NPZ,
    Tally,
    date_of,
    session_id,
)

GB = 2**30
MB = 2**20
# Dollars per GB and month (CONTRACT §8).
STANDARD, INTELLIGENT_TIERING, DEEP_ARCHIVE = 0.023, 0.0195, 0.00099

Sizes = NDArray[np.int64]


class Overview(TypedDict):
    """The bucket as a whole. ``lastUpdated`` is ISO 8601 UTC."""

    totalFiles: int
    totalSizeGB: float
    totalSizeBytes: int
    averageFileSizeMB: float
    lastUpdated: str


class TypeStats(TypedDict):
    """Objects of one extension. ``percentage`` is their share of all bytes, 0..100."""

    count: int
    sizeGB: float
    percentage: float


class SessionFiles(TypedDict):
    """One folder under ``sessions/``."""

    id: str
    files: int
    sizeGB: float
    hasMp4: bool
    hasNpz: bool
    status: Literal["complete", "incomplete"]


class SessionStats(TypedDict):
    """Sessions; complete ones have both an .mp4 and an .npz."""

    total: int
    complete: int
    incomplete: int
    sessions: list[SessionFiles]


class OutputFile(TypedDict):
    """A .zip under ``client_output/``. ``date`` is ISO 8601 UTC."""

    name: str
    sizeGB: float
    date: str


class OutputStats(TypedDict):
    """Processed outputs."""

    count: int
    sizeGB: float
    files: list[OutputFile]


class DayStats(TypedDict):
    """What was stored on one day (UTC)."""

    date: str
    files: int
    sizeGB: float
    mp4Count: int
    npzCount: int
    zipCount: int


class Costs(TypedDict):
    """Dollars per month."""

    currentMonthly: float
    intelligentTiering: float
    glacierDeepArchive: float
    costPerSession: float


class VideoStats(TypedDict):
    """Sizes of the .mp4 files."""

    count: int
    minGB: float
    maxGB: float
    avgGB: float
    medianGB: float


class NpzStats(TypedDict):
    """Sizes of the .npz files."""

    count: int
    minMB: float
    maxMB: float
    avgMB: float
    medianMB: float


class Insights(TypedDict):
    """Sizes of recordings."""

    videoStats: VideoStats
    npzStats: NpzStats


class S3Stats(TypedDict):
    """Schema S3Stats."""

    overview: Overview
    byType: dict[str, TypeStats]
    sessions: SessionStats
    processedOutputs: OutputStats
    timeline: list[DayStats]
    costs: Costs
    insights: Insights


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything of S3Stats that does not grow with sessions or outputs."""

    overview: Overview
    by_type: dict[str, TypeStats]
    timeline: list[DayStats]
    costs: Costs
    insights: Insights
    total: int
    complete: int
    outputs: int
    outputs_gb: float


def summary(tally: Tally, updated_at: str) -> Summary:
    """The numbers of ``tally``; ``updated_at`` is ISO 8601 UTC."""
    complete = int(np.count_nonzero(_has(tally, MP4) & _has(tally, NPZ)))
    monthly = tally.size / GB * STANDARD
    return Summary(
        overview={
            "totalFiles": tally.objects,
            "totalSizeGB": tally.size / GB,
            "totalSizeBytes": tally.size,
            "averageFileSizeMB": tally.size / MB / tally.objects if tally.objects else 0.0,
            "lastUpdated": updated_at,
        },
        by_type={
            extension: {
                "count": count,
                "sizeGB": size / GB,
                "percentage": 100 * size / tally.size if tally.size else 0.0,
            }
            for extension, (count, size) in sorted(tally.types.items())
        },
        timeline=[
            {
                "date": date_of(day),
                "files": files,
                "sizeGB": size / GB,
                "mp4Count": mp4,
                "npzCount": npz,
                "zipCount": zips,
            }
            for day, (files, size, mp4, npz, zips) in sorted(tally.days.items())
        ],
        costs={
            "currentMonthly": monthly,
            "intelligentTiering": tally.size / GB * INTELLIGENT_TIERING,
            "glacierDeepArchive": tally.size / GB * DEEP_ARCHIVE,
            "costPerSession": monthly / complete if complete else 0.0,
        },
        insights=_insights(tally),
        total=len(tally.sessions.ids),
        complete=complete,
        outputs=len(tally.outputs),
        outputs_gb=sum(size for size, _ in tally.outputs.values()) / GB,
    )


def session_rows(tally: Tally, start: int, stop: int) -> list[SessionFiles]:
    """Sessions ``start`` to ``stop`` (without), in the order of their ids."""
    table = tally.sessions
    rows: list[SessionFiles] = []
    for place in range(start, min(stop, len(table.ids))):
        flags = table.flags[place]
        mp4 = table.video_sizes[place] >= 0 or bool(flags & STRAY_MP4)
        npz = table.data_sizes[place] >= 0 or bool(flags & STRAY_NPZ)
        rows.append(
            {
                "id": session_id(table.ids[place]),
                "files": table.files[place],
                "sizeGB": table.sizes[place] / GB,
                "hasMp4": mp4,
                "hasNpz": npz,
                "status": "complete" if mp4 and npz else "incomplete",
            }
        )
    return rows


def newest_incomplete(tally: Tally, count: int) -> list[SessionFiles]:
    """At most ``count`` sessions that lack a file, newest first; ids are times."""
    lacking = np.flatnonzero(~(_has(tally, MP4) & _has(tally, NPZ)))
    return [row for place in lacking[::-1][:count] for row in session_rows(tally, place, place + 1)]


def newest_outputs(tally: Tally, count: int) -> list[OutputFile]:
    """At most ``count`` processed outputs, newest first."""
    newest = heapq.nlargest(count, tally.outputs.items(), key=lambda each: each[1][1])
    return [
        {"name": name, "sizeGB": size / GB, "date": Clock.iso_of(at_ms)}
        for name, (size, at_ms) in newest
    ]


def _has(tally: Tally, extension: str) -> NDArray[np.bool_]:
    """Which sessions have a file of that extension, shape (sessions,)."""
    table = tally.sessions
    sizes = table.video_sizes if extension == MP4 else table.data_sizes
    flag = STRAY_MP4 if extension == MP4 else STRAY_NPZ
    found: NDArray[np.bool_] = (np.array(sizes) >= 0) | ((np.array(table.flags) & flag) != 0)
    return found


def _insights(tally: Tally) -> Insights:
    video, data = _sizes(tally, MP4), _sizes(tally, NPZ)
    low, high, mean, median = _spread(video, GB)
    video_stats: VideoStats = {
        "count": len(video), "minGB": low, "maxGB": high, "avgGB": mean, "medianGB": median,
    }  # fmt: skip
    low, high, mean, median = _spread(data, MB)
    npz_stats: NpzStats = {
        "count": len(data), "minMB": low, "maxMB": high, "avgMB": mean, "medianMB": median,
    }  # fmt: skip
    return {"videoStats": video_stats, "npzStats": npz_stats}


def _sizes(tally: Tally, extension: str) -> Sizes:
    table = tally.sessions
    own = np.array(table.video_sizes if extension == MP4 else table.data_sizes, dtype=np.int64)
    strays = np.array(tally.strays[extension], dtype=np.int64)
    return np.concatenate([own[own >= 0], strays])


def _spread(sizes: Sizes, unit: int) -> tuple[float, float, float, float]:
    """Least, most, mean and median in ``unit`` bytes; zeros for none."""
    if not len(sizes):
        return (0.0, 0.0, 0.0, 0.0)
    least, most = float(sizes.min()), float(sizes.max())
    return (least / unit, most / unit, float(sizes.mean()) / unit, float(np.median(sizes)) / unit)
