"""The bucket's accounting: the same numbers as a plain count of the same objects."""

import statistics
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_backend.storage.bucket_report import (
    DEEP_ARCHIVE,
    GB,
    INTELLIGENT_TIERING,
    MB,
    STANDARD,
    session_rows,
    summary,
)
from quest_backend.storage.tally import (
    Tally,
    copied,
    extension_of,
    merged,
    pack,
    session_id,
    session_number,
    unpack,
)

AT = datetime(2026, 2, 6, 23, 59, 59, tzinfo=UTC)
NEXT = datetime(2026, 2, 7, tzinfo=UTC)
ID = "20260206_143052"
OTHER_ID = "20260206_143053"
Object = tuple[str, int, datetime]

_ids = st.integers(0, 30).map(lambda second: f"20260206_1430{second:02d}")
_names = st.sampled_from(["recording.mp4", "session_data.npz", "b.mp4", "x/c.npz", "notes.txt"])
_keys = st.one_of(
    st.builds(lambda one, name: f"sessions/{one}/{name}", _ids, _names),
    st.sampled_from(
        ["client_output/a.zip", "client_output/b.zip", "client_output/c.mp4", "other.zip", "README",
         "sessions/odd/recording.mp4", f"sessions/{ID}", "sessions/2026_0206143052/recording.mp4"]
    ),
)  # fmt: skip
_objects = st.dictionaries(_keys, st.tuples(st.integers(0, 2**41), st.sampled_from([AT, NEXT])))


def tally_of(objects: list[Object]) -> Tally:
    tally = Tally()
    for key, size, at in objects:
        tally.put(key, size, at)
    return tally


def listed(found: dict[str, tuple[int, datetime]]) -> list[Object]:
    return [(key, size, at) for key, (size, at) in sorted(found.items())]


def report(tally: Tally) -> dict[str, Any]:
    found = summary(tally, "2026-02-07T00:00:00.000Z")
    return {
        "overview": found.overview,
        "byType": found.by_type,
        "timeline": found.timeline,
        "costs": found.costs,
        "insights": found.insights,
        "sessions": session_rows(tally, 0, 10**9),
        "outputs": tally.outputs,
        "counts": (found.total, found.complete, found.outputs, found.outputs_gb),
    }


@settings(max_examples=200, deadline=None)
@given(_objects)
def test_every_object_counts_once(found: dict[str, tuple[int, datetime]]) -> None:
    objects = listed(found)
    tally = tally_of(objects)
    numbers = summary(tally, "now")
    assert numbers.overview["totalFiles"] == len(objects)
    assert numbers.overview["totalSizeBytes"] == sum(size for _, size, _ in objects)
    assert sum(one["count"] for one in numbers.by_type.values()) == len(objects)
    assert sum(one["files"] for one in numbers.timeline) == len(objects)
    videos = sorted(size for key, size, _ in objects if key.endswith(".mp4"))
    assert numbers.insights["videoStats"]["count"] == len(videos)
    if videos:
        assert numbers.insights["videoStats"]["medianGB"] == pytest.approx(
            statistics.median(videos) / GB
        )
        assert numbers.insights["videoStats"]["maxGB"] == videos[-1] / GB
    rows = {row["id"]: row for row in session_rows(tally, 0, 10**9)}
    assert list(rows) == sorted(rows)
    for one, row in rows.items():
        own = {key: size for key, size, _ in objects if key.startswith(f"sessions/{one}/")}
        assert row["files"] == len(own)
        assert row["sizeGB"] == sum(own.values()) / GB
        assert row["hasMp4"] == any(key.endswith(".mp4") for key in own)
        assert row["hasNpz"] == any(key.endswith(".npz") for key in own)
    assert numbers.total == len(rows)
    assert numbers.complete == sum(row["status"] == "complete" for row in rows.values())


@settings(max_examples=100, deadline=None)
@given(_objects, _objects, st.lists(_ids))
def test_changes_leave_what_a_new_listing_would_find(
    before: dict[str, tuple[int, datetime]],
    later: dict[str, tuple[int, datetime]],
    removed: list[str],
) -> None:
    """Uploads of recordings, new or again, in any order and more than once."""
    changes = {key: kept for key, kept in later.items() if _is_recording(key)}
    tally = copied(tally_of(listed(before)))
    for _ in range(2):
        for key, (size, at) in changes.items():
            tally.put(key, size, at)
    gone = [f"sessions/{one}/recording.mp4" for one in removed]
    for key in gone:
        tally.remove(key)
    after = {key: kept for key, kept in (before | changes).items() if key not in gone}
    assert report(tally) == report(tally_of(listed(after)))


def _is_recording(key: str) -> bool:
    return session_number(key) is not None and key.endswith(("/recording.mp4", "/session_data.npz"))


@settings(max_examples=100, deadline=None)
@given(_objects, st.lists(_ids, max_size=3))
def test_stretches_counted_apart_are_the_whole(
    found: dict[str, tuple[int, datetime]], borders: list[str]
) -> None:
    objects = listed(found)
    edges = ["", *sorted(f"sessions/{one}/" for one in borders), "\U0010ffff"]
    parts = [
        tally_of([one for one in objects if low < one[0] <= high]) for low, high in pairwise(edges)
    ]
    assert report(merged(parts[::-1])) == report(tally_of(objects))


@settings(max_examples=50, deadline=None)
@given(_objects)
def test_a_packed_tally_is_the_same(found: dict[str, tuple[int, datetime]]) -> None:
    tally = tally_of(listed(found))
    assert unpack(pack(tally)) == tally


@pytest.mark.parametrize("damage", [b"", b"tally1", b"something else entirely"])
def test_bytes_that_are_no_tally_are_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="tally"):
        unpack(damage)
    with pytest.raises(ValueError, match="cut off"):
        unpack(pack(tally_of([(f"sessions/{ID}/recording.mp4", 1, AT)]))[:-1])


def test_an_empty_bucket_is_all_zeros() -> None:
    found = summary(Tally(), "now")
    assert found.overview == {
        "totalFiles": 0, "totalSizeGB": 0, "totalSizeBytes": 0, "averageFileSizeMB": 0,
        "lastUpdated": "now",
    }  # fmt: skip
    assert set(found.costs.values()) == {0}
    assert set(found.insights["videoStats"].values()) == {0}
    assert set(found.insights["npzStats"].values()) == {0}
    assert (found.by_type, found.timeline, found.total, found.outputs) == ({}, [], 0, 0)


def test_money_and_units() -> None:
    tally = tally_of(
        [
            (f"sessions/{ID}/recording.mp4", 3 * GB, AT),
            (f"sessions/{ID}/session_data.npz", GB, AT),
            (f"sessions/{OTHER_ID}/recording.mp4", 2 * GB, NEXT),
            ("client_output/week 6.ZIP", 2 * GB, NEXT),
        ]
    )
    found = summary(tally, "now")
    assert found.overview["totalSizeGB"] == 8
    assert found.overview["averageFileSizeMB"] == 2048
    assert found.costs == {
        "currentMonthly": 8 * STANDARD,
        "intelligentTiering": 8 * INTELLIGENT_TIERING,
        "glacierDeepArchive": 8 * DEEP_ARCHIVE,
        "costPerSession": 8 * STANDARD,
    }
    assert (STANDARD, INTELLIGENT_TIERING, DEEP_ARCHIVE) == (0.023, 0.0195, 0.00099)
    assert found.by_type[".mp4"] == {"count": 2, "sizeGB": 5, "percentage": 62.5}
    assert found.timeline == [
        {"date": "2026-02-06", "files": 2, "sizeGB": 4, "mp4Count": 1, "npzCount": 1, "zipCount": 0},
        {"date": "2026-02-07", "files": 2, "sizeGB": 4, "mp4Count": 1, "npzCount": 0, "zipCount": 1},
    ]  # fmt: skip
    assert found.insights["npzStats"]["medianMB"] == GB / MB
    assert list(tally.outputs) == ["week 6.ZIP"]


@pytest.mark.parametrize(
    ("key", "extension"),
    [("a/b.MP4", ".mp4"), ("a.b/c", "(none)"), (".hidden", "(none)"), ("a.", "(none)"),
     ("x.tar.gz", ".gz"), ("a.a sentence with a dot", "(other)"), ("", "(none)")],
)  # fmt: skip
def test_extensions(key: str, extension: str) -> None:
    assert extension_of(key) == extension


def test_extensions_without_end_do_not_cost_memory_without_end() -> None:
    tally = tally_of([(f"a.{number}", 1, AT) for number in range(2000)])
    assert len(tally.types) <= 501
    assert sum(count for count, _ in tally.types.values()) == 2000


@pytest.mark.parametrize(
    "key",
    [f"sessions/{ID}", f"sessions/{ID}/", "sessions/session_123/recording.mp4", f"{ID}/a.mp4",
     "sessions/2026-02-06_14:30:52/a.mp4", "sessions/\u0662\u0660260206_143052/a.mp4", "sessions//a.mp4"],
)  # fmt: skip
def test_what_is_no_file_of_a_session(key: str) -> None:
    assert session_number(key) is None


def test_a_session_number_is_its_id() -> None:
    assert session_id(session_number(f"sessions/{ID}/x") or 0) == ID
    assert session_id(session_number("sessions/00010101_000000/x") or 0) == "00010101_000000"


def test_a_session_costs_64_bytes() -> None:
    """And its objects nothing."""
    tally = tally_of(
        [(f"sessions/{session_id(number)}/{name}", 1, AT)
         for number in range(10**13, 10**13 + 1000) for name in ("recording.mp4", "a.json", "b.json")]
    )  # fmt: skip
    columns = tally.sessions.columns()
    assert sum(len(column) * column.itemsize for column in columns) == 64 * 1000
