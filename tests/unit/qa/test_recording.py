"""Sound recordings are read whole, in every form that NumPy writes; hostile ones are refused."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import (
    Counted,
    arrays,
    files,
    metadata,
    npy,
    npz,
    raw_npy,
    rawzip,
    zeros_bomb,
    zipped,
)

from quest_backend.qa.problems import ProblemCode
from quest_backend.qa.ranges import ShortRead, Span, read
from quest_backend.qa.recording import Recording, Unreadable, read_recording
from quest_backend.qa.zipfiles import MAX_MEMBERS, TAIL_BYTES


def opened(data: bytes, max_member_bytes: int = 1 << 20) -> Recording | Unreadable:
    return read(read_recording(len(data), max_member_bytes), Counted(data))


def good(data: bytes) -> Recording:
    recording = opened(data)
    assert isinstance(recording, Recording), recording
    return recording


def codes(data: bytes, max_member_bytes: int = 1 << 20) -> set[ProblemCode]:
    recording = opened(data, max_member_bytes)
    assert isinstance(recording, Unreadable)
    assert all(problem.message for problem in recording.problems)
    return {problem.code for problem in recording.problems}


FRAMES = 50
LEFT = np.linspace(0, 1, FRAMES)
TRACKED = np.arange(FRAMES) % 3 == 0


@pytest.mark.parametrize("packed", [True, False], ids=["deflated", "stored"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_values_come_out_as_numpy_wrote_them(dtype: str, packed: bool) -> None:
    recording = good(
        npz(arrays(FRAMES, left_confidence=LEFT.astype(dtype), left_tracked=TRACKED), packed=packed)
    )
    np.testing.assert_array_equal(recording.confidence[0], LEFT.astype(dtype).astype(np.float64))
    np.testing.assert_array_equal(recording.tracked[0], TRACKED)
    assert recording.frames == FRAMES
    assert recording.metadata.device_id == "QUEST_001"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_array_format_is_read(version: tuple[int, int]) -> None:
    members = files(arrays(FRAMES)) | {"left_confidence.npy": npy(LEFT, version=version)}
    np.testing.assert_array_equal(good(zipped(members)).confidence[0], LEFT)


def test_fortran_order_and_keys_in_any_order_are_read() -> None:
    header = '{"shape": (50,), "fortran_order": True, "descr": "<f8"}   \n'
    members = files(arrays(FRAMES)) | {"left_confidence.npy": raw_npy(header, LEFT.tobytes())}
    np.testing.assert_array_equal(good(zipped(members)).confidence[0], LEFT)


@pytest.mark.parametrize(
    "written",
    [
        np.array([metadata(FRAMES)]),
        np.array(metadata(FRAMES)),
        np.array([metadata(FRAMES).decode()]),
        np.array([metadata(FRAMES).decode()]).astype(">U300"),
        np.array([metadata(FRAMES)], dtype=object),
        np.array([metadata(FRAMES).decode()], dtype=object),
        np.array(metadata(FRAMES), dtype=object),
    ],
    ids=[
        "bytes",
        "0-d bytes",
        "text",
        "big-endian text",
        "object bytes",
        "object text",
        "0-d object",
    ],
)
def test_metadata_is_read_in_every_form(written: Any) -> None:
    recording = good(npz(arrays(FRAMES, metadata=written)))
    assert recording.metadata.total_frames == FRAMES
    assert recording.metadata.success


def test_zip64_members_and_directory_are_read(tmp_path: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files(arrays(FRAMES)).items():
            with made.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    plain = file.getvalue()
    assert good(plain).frames == FRAMES
    # The same with sizes and offsets only in zip64 fields, and a zip64 end of the directory.
    assert good(as_zip64(plain)).frames == FRAMES


def as_zip64(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        infos, start = made.infolist(), made.start_dir
    directory = b""
    for info in infos:
        name = info.filename.encode()
        extra = struct.pack("<2H3Q", 1, 24, info.file_size, info.compress_size, info.header_offset)
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, info.compress_type, 0, 0, info.CRC, 0xFFFFFFFF,
            0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF,
        ) + name + extra  # fmt: skip
    count, at = len(infos), start + len(directory)
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    made64 = data[:start] + directory + end64 + locator + end
    with zipfile.ZipFile(io.BytesIO(made64)) as again:
        assert again.testzip() is None
    return made64


def test_a_comment_at_the_end_is_allowed() -> None:
    file = io.BytesIO(npz(arrays(FRAMES)))
    with zipfile.ZipFile(file, "a") as made:
        made.comment = b"PK\x05\x06" * 1000
    assert good(file.getvalue()).frames == FRAMES


def test_what_is_no_confidence_counts_as_none() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -1, 2, 0.5], np.float32)
    recording = good(npz(arrays(6, left_confidence=odd)))
    np.testing.assert_array_equal(recording.confidence[0], [0, 0, 0, 0, 1, 0.5])


def test_any_byte_but_zero_is_a_set_flag() -> None:
    header = "{'descr': '|b1', 'fortran_order': False, 'shape': (4,), }\n"
    members = files(arrays(4)) | {"tracking_errors.npy": raw_npy(header, b"\0\x01\x02\xff")}
    recording = good(zipped(members))
    assert recording.tracking_errors.tolist() == [False, True, True, True]
    assert np.count_nonzero(recording.tracking_errors) == 3


def test_a_large_file_is_read_in_few_small_requests() -> None:
    joints = np.random.default_rng(1).random((20_000, 26, 3), np.float32)
    made = arrays(20_000)
    for name, data in (("between", {**dict(list(made.items())[:4]), "joints": joints,
                                    **dict(list(made.items())[4:])}),
                       ("after", {**made, "joints": joints})):  # fmt: skip
        source = Counted(npz(data))
        recording = read(read_recording(len(source.data)), source)
        assert isinstance(recording, Recording)
        assert source.requests <= (3 if name == "between" else 2)
        assert source.bytes < len(source.data) * 0.1
    small = Counted(npz(arrays(100)))
    assert isinstance(read(read_recording(len(small.data)), small), Recording)
    assert small.requests == 1


def test_a_member_larger_than_what_is_fetched_ahead_is_read_in_pieces() -> None:
    frames = 1_500_000
    noise = np.random.default_rng(1).random(frames)
    source = Counted(npz(arrays(frames, left_confidence=noise)))
    recording = read(read_recording(len(source.data)), source)
    assert isinstance(recording, Recording)
    np.testing.assert_array_equal(recording.confidence[0], noise)


def test_a_source_that_gives_too_little_is_an_error_not_a_verdict() -> None:
    data = npz()
    with pytest.raises(ShortRead):
        read(read_recording(len(data)), lambda span: data[span.start : span.end - 1])


def test_reads_are_of_spans_inside_the_file() -> None:
    reads = read_recording(10)
    assert next(reads) == (Span(0, 10),)


# The corpus of bad files. Each line: what it is, the file, the code it has to give.


def _ragged() -> bytes:
    return npz(arrays(FRAMES, tracking_errors=np.zeros(FRAMES + 1, np.bool_)))


def _with(name: str, data: bytes) -> bytes:
    return zipped(files(arrays(FRAMES)) | {f"{name}.npy": data})


def _header(text: str) -> bytes:
    return _with("left_confidence", raw_npy(text, bytes(4 * FRAMES)))


def _edited(where: bytes, offset: int, new: bytes) -> bytes:
    data = bytearray(npz(arrays(FRAMES)))
    at = data.rfind(where) + offset
    data[at : at + len(new)] = new
    return bytes(data)


def _encrypted() -> bytes:
    data = bytearray(npz(arrays(FRAMES)))
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _members(count: int) -> bytes:
    return zipped(
        files(arrays(1)) | {f"m{number}.npy": b"" for number in range(count)}, zipfile.ZIP_STORED
    )


def _twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped([*files(arrays(FRAMES)).items(), ("metadata.npy", npy(np.array([b"{}"])))])


_FLOAT = "{'descr': '<f4', 'fortran_order': False, 'shape': (50,), }"
_P = ProblemCode
CORPUS: dict[str, tuple[Any, ProblemCode]] = {
    "empty": (lambda: b"", _P.NOT_A_ZIP),
    "zeros": (lambda: bytes(5000), _P.NOT_A_ZIP),
    "text": (lambda: b"Not Found\n" * 100, _P.NOT_A_ZIP),
    "wrong magic": (lambda: b"XX" + npz()[2:], _P.BAD_MEMBER),
    "only an end record": (lambda: b"PK\x05\x06" + bytes(18), _P.MISSING_ARRAY),
    "truncated in the end record": (lambda: npz()[:-5], _P.TRUNCATED),
    "truncated in the directory": (lambda: npz()[:-200], _P.TRUNCATED),
    "truncated in a member": (lambda: npz()[:500], _P.TRUNCATED),
    "trailing bytes": (lambda: npz() + b"more", _P.TRUNCATED),
    "leading bytes": (lambda: b"more" + npz(), _P.BAD_DIRECTORY),
    "a hole in the middle": (lambda: npz()[:300] + npz()[400:], _P.BAD_DIRECTORY),
    "directory entries damaged": (lambda: _edited(b"PK\x01\x02", 0, b"XX"), _P.BAD_DIRECTORY),
    "directory of another length": (lambda: _edited(b"PK\x05\x06", 12, b"\x01\x00"), _P.BAD_DIRECTORY),
    "split over disks": (lambda: _edited(b"PK\x05\x06", 4, b"\x01"), _P.BAD_DIRECTORY),
    "member said to be elsewhere": (lambda: _edited(b"PK\x01\x02", 42, b"\xff\xff"), _P.BAD_DIRECTORY),
    "encrypted": (_encrypted, _P.BAD_MEMBER),
    "unknown compression": (lambda: zipped(files(arrays(FRAMES)), zipfile.ZIP_BZIP2), _P.BAD_MEMBER),
    "LZMA": (lambda: zipped(files(arrays(FRAMES)), zipfile.ZIP_LZMA), _P.BAD_MEMBER),
    "wrong checksum": (lambda: _edited(b"PK\x01\x02", 16, b"\0\0\0\0"), _P.BAD_CHECKSUM),
    "missing member": (lambda: npz(arrays(tracking_errors=None)), _P.MISSING_ARRAY),
    "no arrays": (lambda: zipped({"readme.txt": b"hello"}), _P.MISSING_ARRAY),
    "a zip in a zip": (lambda: zipped({"session_data.npz": npz()}), _P.MISSING_ARRAY),
    "a zip as an array": (lambda: _with("left_tracked", npz()), _P.BAD_ARRAY_HEADER),
    "ragged": (_ragged, _P.RAGGED_LENGTHS),
    "two names": (_twice, _P.DUPLICATE_MEMBER),
    "two spellings": (lambda: zipped(files(arrays(9)) | {"metadata": b""}), _P.DUPLICATE_MEMBER),
    "name leads up": (lambda: zipped(files() | {"../../etc/passwd.npy": b""}), _P.UNSAFE_NAME),
    "name from the root": (lambda: zipped(files() | {"/etc/passwd.npy": b""}), _P.UNSAFE_NAME),
    "name of Windows": (lambda: zipped(files() | {"C:\\boot.npy": b""}), _P.UNSAFE_NAME),
    "name with controls": (lambda: zipped(files() | {"a\x1b[2Jb.npy": b""}), _P.UNSAFE_NAME),
    "too many members": (lambda: _members(MAX_MEMBERS + 1), _P.TOO_MANY_MEMBERS),
    "65,536 members": (lambda: _members(65_536), _P.TOO_MANY_MEMBERS),
    "huge directory": (lambda: zipped(files() | {"n" * 60_000 + str(i): b"" for i in range(20)}), _P.TOO_LARGE),
    "text confidence": (lambda: npz(arrays(2, left_confidence=np.array(["a", "b"]))), _P.WRONG_DTYPE),
    "whole-number confidence": (lambda: npz(arrays(2, left_confidence=np.ones(2, int))), _P.WRONG_DTYPE),
    "complex confidence": (lambda: npz(arrays(2, left_confidence=np.ones(2, complex))), _P.WRONG_DTYPE),
    "object confidence": (lambda: npz(arrays(2, left_confidence=np.ones(2, object))), _P.WRONG_DTYPE),
    "whole-number flags": (lambda: npz(arrays(2, left_tracked=np.ones(2, np.uint8))), _P.WRONG_DTYPE),
    "record flags": (lambda: npz(arrays(2, left_tracked=np.ones(2, [("a", bool)]))), _P.BAD_ARRAY_HEADER),
    "number as metadata": (lambda: npz(arrays(2, metadata=np.array([1]))), _P.WRONG_DTYPE),
    "two metadata": (lambda: npz(arrays(2, metadata=np.array([b"{}", b"{}"]))), _P.WRONG_SHAPE),
    "two-dimensional": (lambda: npz(arrays(4, left_tracked=np.ones((4, 1), bool))), _P.WRONG_SHAPE),
    "no text": (lambda: _with("metadata", raw_npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", b"\xff" * 4)), _P.BAD_METADATA),
    "array cut off": (lambda: _with("left_confidence", npy(LEFT)[:-1]), _P.BAD_MEMBER),
    "array too long": (lambda: _with("left_confidence", npy(LEFT) + b"\0"), _P.BAD_MEMBER),
    "empty array file": (lambda: _with("left_confidence", b""), _P.BAD_ARRAY_HEADER),
    "array header cut off": (lambda: _with("left_confidence", npy(LEFT)[:40]), _P.BAD_ARRAY_HEADER),
    "array of version 9": (lambda: _with("left_confidence", raw_npy(_FLOAT, version=b"\x09\x00")), _P.BAD_ARRAY_HEADER),
    "header too long": (lambda: _header(_FLOAT + " " * 5000), _P.BAD_ARRAY_HEADER),
    "header is code": (lambda: _header("__import__('os').system('true')"), _P.BAD_ARRAY_HEADER),
    "header nests": (lambda: _header("(" * 4000), _P.BAD_ARRAY_HEADER),
    "header twice": (lambda: _header(_FLOAT[:-1] + "'shape': (1,)}"), _P.BAD_ARRAY_HEADER),
    "header with more": (lambda: _header(_FLOAT[:-1] + "'more': (1,)}"), _P.BAD_ARRAY_HEADER),
    "header then more": (lambda: _header(_FLOAT + "1"), _P.BAD_ARRAY_HEADER),
    "negative length": (lambda: _header(_FLOAT.replace("50", "-1")), _P.BAD_ARRAY_HEADER),
    "endless length": (lambda: _header(_FLOAT.replace("50", "9" * 3000)), _P.BAD_ARRAY_HEADER),
    "2**60 frames": (lambda: _header(_FLOAT.replace("50", str(2**60))), _P.TOO_LARGE),
    "shape wraps around": (lambda: _header(_FLOAT.replace("(50,)", "(4294967296, 4294967296)")), _P.WRONG_SHAPE),
    "item size of zero": (lambda: _header(_FLOAT.replace("<f4", "<f0")), _P.WRONG_DTYPE),
    "unknown dtype": (lambda: _header(_FLOAT.replace("<f4", "<M8[ns]")), _P.WRONG_DTYPE),
    "member over the bound": (lambda: npz(arrays(FRAMES, left_confidence=np.zeros(300_000, np.float32))), _P.TOO_LARGE),
    "metadata over the bound": (lambda: npz(arrays(metadata=np.array([b"x" * 2_000_000]))), _P.TOO_LARGE),
    "bomb that lies about its size": (lambda: rawzip(b"left_confidence.npy", zeros_bomb(64 << 20), 1000), _P.BAD_ARRAY_HEADER),
    "bomb in a good array": (lambda: rawzip(b"left_tracked.npy", _bomb_after_header(), 128 + 50), _P.BAD_MEMBER),
    "no end of the deflate stream": (lambda: rawzip(b"left_tracked.npy", b"\x00\x05\x00\xfa\xffhello", 5), _P.BAD_ARRAY_HEADER),
    "no deflate": (lambda: rawzip(b"left_tracked.npy", b"\xff\xff\xff", 500), _P.BAD_MEMBER),
    "stored of two sizes": (lambda: rawzip(b"left_tracked.npy", b"abc", 500, method=0), _P.BAD_MEMBER),
}  # fmt: skip


def _bomb_after_header() -> bytes:
    import zlib

    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [deflate.compress(npy(np.zeros(FRAMES, np.bool_)))]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(32)]
    return b"".join([*parts, deflate.flush()])


@pytest.mark.parametrize("name", CORPUS)
def test_bad_files_are_refused_with_a_reason(name: str) -> None:
    make, code = CORPUS[name]
    assert code in codes(make())


@pytest.mark.parametrize("packed", [True, False], ids=["deflated", "stored"])
def test_cut_at_any_place_a_file_is_refused(packed: bool) -> None:
    data = npz(arrays(FRAMES), packed=packed)
    for length in [*range(0, len(data), 97), *range(len(data) - 60, len(data))]:
        assert isinstance(opened(data[:length]), Unreadable)


GOOD = npz(arrays(FRAMES))


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=5)
)
def test_changed_bytes_never_raise_nor_change_values_unseen(edits: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, byte in edits:
        data[at] = byte
    recording = opened(bytes(data))
    if isinstance(recording, Recording):
        assert recording.frames == FRAMES
        assert recording.confidence[0].tolist() == [1.0] * FRAMES


@given(st.binary(max_size=300))
def test_any_bytes_give_a_result(data: bytes) -> None:
    assert isinstance(opened(data), Unreadable)
    assert isinstance(opened(data + b"PK\x05\x06" + bytes(18)), Unreadable)


def test_the_tail_holds_the_longest_comment_and_a_usual_directory() -> None:
    assert TAIL_BYTES > 65_535 + 22 + 20 + 56 + 40 * 100
