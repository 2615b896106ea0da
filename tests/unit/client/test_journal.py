"""The journal of an upload outlives a crash at any byte."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from quest_backend.client.journal import Journal, Upload

_UPLOAD = Upload("http://lab", "20260206_143052", "video", 30, 1, "id", "key", 10)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "recording.mp4"
    with Journal(file) as journal:
        assert journal.read() == (None, {})
        journal.begin(_UPLOAD, {2: "b"})
        journal.sent(1, "a")
        assert Journal(file).read() == (_UPLOAD, {1: "a", 2: "b"})
        other = replace(_UPLOAD, upload_id="other")
        journal.begin(other, {})
        assert Journal(file).read() == (other, {})
        journal.done()
    assert list(tmp_path.iterdir()) == []


@given(st.data())
def test_a_torn_journal_loses_only_its_last_line(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder) / "x") as journal:
            journal.begin(_UPLOAD, {})
            for number in range(1, 6):
                journal.sent(number, f"etag{number}")
        whole = journal.path.read_bytes()
        kept = data.draw(st.integers(0, len(whole)))
        journal.path.write_bytes(whole[:kept])
        upload, parts = Journal(Path(folder) / "x").read()
    lines = whole[:kept].splitlines()
    assert upload in (None, _UPLOAD)
    assert all(etag == f"etag{number}" for number, etag in parts.items())
    assert len(parts) >= max(0, len(lines) - 2)
