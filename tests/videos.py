"""Long videos, made quickly."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def long_movie(path: Path, frames: int, options: dict[str, str]) -> None:
    """One picture again and again, 60 per second at uneven times as headsets write them.

    No two times are alike, so the index has a row per frame in each of its tables.
    """
    noise = np.random.default_rng(1)
    times = np.arange(frames) * 1500 + noise.integers(0, 400, frames)
    with av.open(path, "w", format="mp4", options=options) as made:
        stream = made.add_stream("libx264", rate=60, options={"bf": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        packets = [*stream.encode(picture), *stream.encode(None)]
        [first] = [bytes(packet) for packet in packets if packet.size]
        for time in times.tolist():
            packet = av.Packet(first)
            packet.stream, packet.time_base = stream, Fraction(1, 90_000)
            packet.pts = packet.dts = time
            packet.is_keyframe = True
            made.mux(packet)
