"""Finding and scoring recordings on disk."""

from pathlib import Path

import pytest
from recordings import SESSION, arrays, npz

from quest_backend.jobs.local_recordings import (
    DATA_NAME,
    VIDEO_NAME,
    NoRecordings,
    find_sessions,
    score_local,
)


def folder(at: Path, name: str = SESSION) -> Path:
    made = at / name
    made.mkdir()
    (made / DATA_NAME).write_bytes(npz())
    return made


def test_a_folder_of_sessions_gives_them_in_order(tmp_path: Path) -> None:
    for name in ("20260206_143053", SESSION):
        folder(tmp_path, name)
    (tmp_path / "notes").mkdir()
    only_video = tmp_path / "20260206_143054"
    only_video.mkdir()
    (only_video / VIDEO_NAME).write_bytes(b"no video")
    found = find_sessions(tmp_path)
    assert [each.session_id for each in found] == [SESSION, "20260206_143053", only_video.name]
    codes = [{each["code"] for each in score_local(one, 10).session["extended"]["problems"]}
             for one in found]  # fmt: skip
    assert codes == [{"MISSING_VIDEO"}, {"MISSING_VIDEO"}, {"MISSING_DATA", "VIDEO_UNREADABLE"}]


def test_the_folders_name_is_the_session_and_else_the_files(tmp_path: Path) -> None:
    made = folder(tmp_path)
    assert find_sessions(made)[0].session_id == SESSION
    assert find_sessions(made / DATA_NAME)[0].session_id == SESSION
    alone = tmp_path / "take 7.npz"
    alone.write_bytes(npz())
    assert find_sessions(alone)[0].session_id == "take 7"
    alone.with_suffix(".mp4").write_bytes(b"")
    assert find_sessions(alone)[0].video == alone.with_suffix(".mp4")
    scored = score_local(find_sessions(alone)[0], 10)
    assert [each["message"] for each in scored.session["extended"]["problems"]] == [
        "the video cannot be read: it is empty"
    ]


def test_a_scored_session_has_a_timeline_and_a_broken_one_none(tmp_path: Path) -> None:
    made = folder(tmp_path)
    scored = score_local(find_sessions(made)[0], 10)
    assert scored.timeline is not None
    assert scored.timeline["points"] == 10
    (made / DATA_NAME).write_bytes(npz()[:100])
    assert score_local(find_sessions(made)[0], 10).timeline is None
    (made / DATA_NAME).write_bytes(b"")
    assert score_local(find_sessions(made)[0], 10).session["overallQualityScore"] == 0


def test_the_bound_on_members_is_obeyed(tmp_path: Path) -> None:
    made = tmp_path / "long.npz"
    made.write_bytes(npz(arrays(20_000)))
    codes = [each["code"] for each in
             score_local(find_sessions(made)[0], 10, 1 << 16).session["extended"]["problems"]]  # fmt: skip
    assert codes.count("TOO_LARGE") == 2


@pytest.mark.parametrize("name", ["missing", "."])
def test_nothing_to_score_says_why(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoRecordings, match=str(tmp_path)):
        find_sessions(tmp_path / name)
