"""What simulated headsets leave behind is what real ones do."""

import json
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest

from quest_backend.jobs.local_recordings import find_sessions, score_local
from quest_backend.protocol.recordings import FileType
from quest_backend.simulator import recordings
from quest_backend.simulator.recordings import Take

_TAKE = Take("QUEST_0001", datetime(2026, 2, 6, 14, 30, 52, tzinfo=UTC), 2.0, 7)
_ARRAYS = {
    "left_confidence": "f4", "right_confidence": "f4", "left_tracked": "?", "right_tracked": "?",
    "both_hands_not_in_frame": "?", "hand_speed_exceeded": "?", "tracking_errors": "?",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[FileType, Path]:
    return recordings.make(_TAKE, tmp_path_factory.mktemp("take"))


def test_the_video_is_h264_of_the_takes_length(made: dict[FileType, Path]) -> None:
    with av.open(str(made[FileType.VIDEO])) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.duration is not None
        assert stream.time_base is not None
        seconds = float(stream.duration * stream.time_base)
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
    assert len(frames) == 2 * recordings.FRAMES_PER_S
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1
    assert seconds == pytest.approx(2.0)


def test_the_data_are_the_schemas_eight_arrays(made: dict[FileType, Path]) -> None:
    with np.load(made[FileType.DATA], allow_pickle=False) as data:
        assert set(data.files) == {*_ARRAYS, "metadata"}
        frames = 2 * recordings.FRAMES_PER_S
        for name, kind in _ARRAYS.items():
            assert data[name].dtype == np.dtype(kind), name
            assert data[name].shape == (frames,), name
        assert ((data["left_confidence"] >= 0) & (data["left_confidence"] <= 1)).all()
        untracked = ~data["left_tracked"] & ~data["right_tracked"]
        assert (data["both_hands_not_in_frame"] == untracked).all()
        metadata = json.loads(data["metadata"][0].decode())
    assert metadata == {
        "capture_date": "2026-02-06T14:30:52Z",
        "success": True,
        "device_id": "QUEST_0001",
        "app_version": "2.3.0",
        "duration_seconds": 2.0,
        "total_frames": frames,
    }


def test_qa_finds_nothing_wrong_with_the_files(made: dict[FileType, Path]) -> None:
    [session] = find_sessions(made[FileType.DATA])
    scored = score_local(session, 100).session
    assert scored["extended"]["video"] is not None
    assert scored["extended"]["video"]["framesAgree"]
    # The folder is not named after the take here.
    assert scored["extended"]["problems"] == []
    assert scored["stages"]["stage10_validationTests"]["score"] == 100


def test_hands_are_lost_now_and_then_but_mostly_tracked(tmp_path: Path) -> None:
    recordings.write_data(Take("QUEST_0001", _TAKE.began, 120, 3), tmp_path / "long.npz")
    with np.load(tmp_path / "long.npz") as data:
        assert 0.9 < data["left_tracked"].mean() < 1
        assert data["left_confidence"].mean() > 0.8
        assert 0 < data["tracking_errors"].mean() < 0.05
