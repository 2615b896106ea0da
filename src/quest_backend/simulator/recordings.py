"""What a headset leaves behind when it stops recording: a real H.264 MP4 and a real NPZ."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from quest_backend.protocol.recordings import FILE_NAMES, FileType

WIDTH, HEIGHT = 320, 180
# A picture and a measurement of the hands per frame: QA compares their numbers.
FRAMES_PER_S = 30
# Half a second of tracking at least: QA has nothing to say of less.
_LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class Take:
    """One recording: when it began (UTC) and how long it was."""

    device_id: str
    began: datetime
    seconds: float
    seed: int

    @property
    def timestamp(self) -> str:
        """As the upload names it."""
        return f"{self.began.astimezone(UTC):%Y%m%d_%H%M%S}"


def make(take: Take, folder: Path) -> dict[FileType, Path]:
    """Write both files of a take into ``folder``. Takes a while: run it in a thread."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {file_type: folder / name for file_type, name in FILE_NAMES.items()}
    write_video(take, paths[FileType.VIDEO])
    write_data(take, paths[FileType.DATA])
    return paths


def write_video(take: Take, path: Path) -> None:
    """An H.264 MP4 of two hands that move over a desk."""
    # Heavy, and only needed once something has been recorded.
    import av
    import numpy as np

    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    desk = (40 + 60 * rows / HEIGHT).astype(np.float32)
    noise = np.random.default_rng(take.seed)
    frames = max(1, round(max(_LEAST_S, take.seconds) * FRAMES_PER_S))
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=FRAMES_PER_S, options={"preset": "ultrafast", "crf": "28"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_S)
        for index in range(frames):
            turn = 2 * np.pi * index / (3 * FRAMES_PER_S)
            picture = desk + noise.normal(0, 4, desk.shape).astype(np.float32)
            for side in (-1, 1):
                x = WIDTH / 2 + side * 60 + 40 * np.cos(turn)
                y = HEIGHT / 2 + 25 * np.sin(turn * (2 if side > 0 else 1))
                picture[(columns - x) ** 2 + (rows - y) ** 2 < 18**2] = 200
            grey = np.clip(picture, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_data(take: Take, path: Path) -> None:
    """The eight arrays of the schema (NPZ File Structure), as a headset measures them."""
    import numpy as np

    frames = max(1, round(max(_LEAST_S, take.seconds) * FRAMES_PER_S))
    rng = np.random.default_rng(take.seed)

    def spells(share: float, length: int) -> Any:
        """Runs of True, about ``share`` of the time."""
        starts = rng.random(frames) < share / length
        spread = np.convolve(starts, np.ones(length), "full")[:frames]
        return spread > 0

    arrays: dict[str, Any] = {}
    lost = {}
    for side in ("left", "right"):
        lost[side] = spells(0.03, 12)
        confidence = np.clip(rng.normal(0.95, 0.03, frames), 0, 1)
        confidence[lost[side]] = rng.uniform(0.1, 0.6, int(lost[side].sum()))
        arrays[f"{side}_confidence"] = confidence.astype(np.float32)
        arrays[f"{side}_tracked"] = ~lost[side]
    arrays["both_hands_not_in_frame"] = lost["left"] & lost["right"]
    arrays["hand_speed_exceeded"] = spells(0.01, 6)
    arrays["tracking_errors"] = spells(0.01, 4)
    metadata = {
        "capture_date": f"{take.began.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "success": True,
        "device_id": take.device_id,
        "app_version": "2.3.0",
        "duration_seconds": round(frames / FRAMES_PER_S, 3),
        "total_frames": frames,
    }
    arrays["metadata"] = np.array([json.dumps(metadata).encode()])
    np.savez_compressed(path, **arrays)


def new_seed(device_id: str, began: datetime) -> int:
    """The same take, the same files."""
    return random.Random(f"{device_id} {began.isoformat()}").getrandbits(32)  # noqa: S311 - scenery
