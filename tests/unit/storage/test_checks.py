"""Which parts make a file, and which second a folder is: decided without a store."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_backend.protocol.recordings import (
    FileType,
    PartPlan,
    folder_of,
    following,
    key_of,
    parse_key,
    plan,
    spans_after,
)
from quest_backend.storage.checks import (
    Algorithm,
    Checksum,
    GivenPart,
    PartsWrong,
    check_parts,
    newest,
)
from quest_backend.storage.s3 import Part

_MIB = 1024 * 1024
_PLAN = PartPlan(25, 10)
_STORED = [Part(1, "a", 10), Part(2, "b", 10), Part(3, "c", 5)]


def _given(*pairs: tuple[int, str]) -> list[GivenPart]:
    return [GivenPart(number, etag) for number, etag in pairs]


def test_all_parts_in_any_order_quoted_or_not_even_twice() -> None:
    named = _given((3, '"c"'), (1, "a"), (2, '"b"'), (1, '"a"'))
    assert check_parts(_PLAN, _STORED, named) == _STORED


@pytest.mark.parametrize(
    ("stored", "named", "kind", "numbers"),
    [
        (_STORED, [(1, "a"), (2, "b")], "missingParts", [3]),
        (_STORED[:1], [(1, "a"), (2, "b"), (3, "c")], "missingParts", [2, 3]),
        (_STORED, [(1, "a"), (2, "x"), (3, "c")], "wrongParts", [2]),
        (_STORED, [(1, "a"), (2, "b"), (3, "c"), (4, "d")], "wrongParts", [4]),
        (_STORED, [(1, "a"), (1, "b"), (2, "b"), (3, "c")], "wrongParts", [1]),
        ([*_STORED[:2], Part(3, "c", 4)], [(1, "a"), (2, "b"), (3, "c")], "wrongParts", [3]),
    ],
)
def test_missing_and_wrong_parts_are_named(
    stored: list[Part], named: list[tuple[int, str]], kind: str, numbers: list[int]
) -> None:
    with pytest.raises(PartsWrong, match="part") as wrong:
        check_parts(_PLAN, stored, _given(*named))
    assert wrong.value.more == {kind: numbers}


def test_of_a_part_sent_again_the_named_version_counts() -> None:
    stored = [Part(1, "old", 10, 1.0), Part(1, "new", 10, 2.0), *_STORED[1:]]
    for etag in ("old", "new"):
        parts = check_parts(_PLAN, stored, _given((1, etag), (2, "b"), (3, "c")))
        assert parts[0].etag == etag
    assert [part.etag for part in newest(stored)] == ["new", "b", "c"]


def test_a_checksum_that_the_store_has_is_compared() -> None:
    right = Checksum(Algorithm.SHA256, base64.b64encode(b"x" * 32).decode())
    wrong = Checksum(Algorithm.SHA256, base64.b64encode(b"y" * 32).decode())
    stored = [Part(1, "a", 7, checksums={"SHA256": right.value})]
    assert check_parts(PartPlan(7, 10), stored, [GivenPart(1, "a", right)]) == stored
    with pytest.raises(PartsWrong, match="another checksum"):
        check_parts(PartPlan(7, 10), stored, [GivenPart(1, "a", wrong)])


@pytest.mark.parametrize("value", ["", "!", "AAAA", base64.b64encode(b"x" * 31).decode()])
def test_a_checksum_has_its_length(value: str) -> None:
    with pytest.raises(ValueError, match="checksum"):
        Checksum(Algorithm.SHA256, value)


@given(st.integers(1, 100 * 1024**3), st.integers(5, 64), st.integers(20, 10_000))
def test_a_plan_covers_the_file_with_parts_that_s3_takes(
    size: int, chunk_mib: int, most: int
) -> None:
    made = plan(size, chunk_mib * _MIB, most)
    assert 1 <= made.parts <= most
    assert made.chunk_bytes >= chunk_mib * _MIB
    assert made.offset_of(made.parts) + made.size_of(made.parts) == size
    assert 1 <= made.size_of(made.parts) <= made.chunk_bytes
    if size <= chunk_mib * _MIB * most:
        assert made.chunk_bytes == chunk_mib * _MIB


@given(st.datetimes())
def test_a_key_names_its_folder_and_file(moment: object) -> None:
    folder = f"{moment:%Y%m%d_%H%M%S}".rjust(15, "0")
    for file_type in FileType:
        assert parse_key(key_of(folder, file_type)) == (folder, file_type)
    assert folder_of(folder) == folder


def test_the_following_seconds_cross_days_and_years() -> None:
    assert following("20251231_235959", 3) == [
        "20251231_235959", "20260101_000000", "20260101_000001",
    ]  # fmt: skip
    assert following("99991231_235959", 3) == ["99991231_235959"]


def test_spans_go_on_where_the_first_seconds_end_and_are_the_same_for_all() -> None:
    spans = spans_after("20251231_235731", 300, 3)
    assert spans == ["20260101_000000", "20260101_000500", "20260101_001000"]
    assert spans == spans_after("20251231_235500", 300, 3)
    # Nothing between the seconds after the asked one and the first span.
    assert spans[0] in following("20251231_235731", 300)
    assert spans_after("99991231_235731", 300, 3) == []


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_clear_error(text: str) -> None:
    try:
        folder = folder_of(text)
    except ValueError:
        with pytest.raises(ValueError, match="not a time"):
            folder_of(text)
    else:
        assert folder_of(folder) == folder
