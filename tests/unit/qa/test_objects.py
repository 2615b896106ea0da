"""An object array gives plain bytes or text, or nothing; no pickle is ever executed."""

import collections
import io
import os
import pickle
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import Counted, Unpicklable, arrays, files, metadata, pickled, zipped

from quest_backend.qa.objects import only_text
from quest_backend.qa.problems import BadRecording, ProblemCode
from quest_backend.qa.ranges import read
from quest_backend.qa.recording import Unreadable, read_recording


def array_pickle(*items: object, protocol: int = 4, shape: tuple[int, ...] | None = None) -> bytes:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return pickle.dumps(array.reshape(shape) if shape is not None else array, protocol)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "value", [b'{"a": 1}', '{"a": "ü"}', b"\0", "", bytes(range(256)), "x" * 70_000]
)
def test_plain_bytes_and_text_come_out_as_they_went_in(value: bytes | str, protocol: int) -> None:
    assert only_text(array_pickle(value, protocol=protocol)) == value
    assert only_text(array_pickle(value, protocol=protocol, shape=())) == value


def test_names_of_older_numpy_are_known() -> None:
    written = array_pickle(b"{}", protocol=3).replace(b"numpy._core", b"numpy.core")
    assert only_text(written) == b"{}"


class Evil:
    """Its module would have to be imported to make it."""


def encoded_often(characters: int, times: int) -> bytes:
    """Three opcodes make the long text once more."""
    text = b"X" + characters.to_bytes(4, "little") + b"{" * characters
    call = b"c_codecs\nencode\nq\x00" + text + b"X\x06\x00\x00\x00latin1\x86q\x01R"
    return b"\x80\x02" + call + b"h\x00h\x01R" * (times - 1) + b"."


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n.".encode()


HOSTILE = {
    "calls a function": array_pickle(Unpicklable(os.system, "touch owned")),
    "calls a program": array_pickle(Unpicklable(subprocess.call, ["touch", "owned"])),
    "opens a file": array_pickle(Unpicklable(io.open, "owned", "w")),
    "evaluates": array_pickle(Unpicklable(eval, "open('owned', 'w')")),
    "makes an instance": array_pickle(Evil()),
    "makes a huge object": array_pickle(Unpicklable(bytes, 1 << 40)),
    "makes a huge array": pickle.dumps(Unpicklable(np.zeros, (1 << 40,))),
    "allocates by reconstruct": pickle.dumps(Unpicklable(np.zeros(1).__reduce__()[0], np.ndarray, (1 << 40,), b"b")),  # type: ignore[arg-type]
    "imports a module": _global("this", "s"),
    "imports by name on the stack": b"\x80\x04\x8c\x04this\x8c\x01s\x93.",
    "is no array": pickle.dumps(b"{}"),
    "holds a dict": array_pickle({"capture_date": "now"}),
    "holds a list": array_pickle([b"{}"]),
    "holds an array": array_pickle(np.array([b"{}"], dtype=object)),
    "holds a number": array_pickle(7),
    "holds None": array_pickle(None),
    "holds a subclass of text": array_pickle(np.str_("{}")),
    "holds an ordered dict": array_pickle(collections.OrderedDict(a=1)),
    "holds two": array_pickle(b"{}", b"{}"),
    "holds none": array_pickle(),
    "is an array of numbers": pickle.dumps(np.zeros(3)),
    "decodes by any codec": b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00{}X\x03\x00\x00\x00zip\x86R.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pfile\n.",
    "builds an instance": b"\x80\x02cnumpy\nndarray\n}b.",
    "sets an attribute of a name": b"\x80\x02cnumpy\nndarray\n(K\x01t\x86b.",
    "an instance of old": b"(ios\nsystem\n.",
    "pops an empty stack": b"\x80\x020.",
    "recalls what is not there": b"\x80\x02h\x09.",
    "a mark too few": b"\x80\x02t.",
    "a mark too many": b"\x80\x02((.",
    "a long name": b"c" + b"a" * 900_000 + b"\nb\n.",
    "says that 8 EiB follow": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"x.",
    "a number of a million digits": b"I" + b"9" * 900_000 + b"\n.",
    "a long of a million bytes": b"\x80\x02\x8b\x40\x42\x0f\x00" + b"\x7f" * 1_000_000 + b".",
    "nests": b"\x80\x02" + b"(" * 500_000 + b".",
    "nests tuples": b"\x80\x02)" + b"\x85" * 900_000 + b".",
    "doubles and doubles": b"\x80\x02]" + b"q\x00h\x00\x86" * 200_000 + b".",
    "encodes the same text again and again": encoded_often(300_000, 200),
    "appends to itself": b"\x80\x02]q\x00h\x00a.",
    "no end": b"\x80\x02]",
    "nothing": b"",
    "unknown opcode": b"\x80\x02\xfe.",
    "more than is read": b"x" * 2_000_000,
    "not Latin-1": b"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_do_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadRecording) as refused:
        only_text(HOSTILE[name])
    assert refused.value.problem.code is ProblemCode.REFUSED_OBJECT
    assert not list(tmp_path.iterdir())


def test_little_memory_is_used_however_often_a_text_is_named() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadRecording, match="too long"):
            only_text(encoded_often(1_000_000, 300))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_hostile_recording_is_refused_whole() -> None:
    written = pickled(HOSTILE["calls a function"])
    data = zipped(files(arrays(5)) | {"metadata.npy": written})
    recording = read(read_recording(len(data)), Counted(data))
    assert isinstance(recording, Unreadable)
    assert {each.code for each in recording.problems} == {ProblemCode.REFUSED_OBJECT}


WHOLE = array_pickle(metadata(5))


@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_changed_bytes_give_text_or_a_refusal(edits: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, byte in edits:
        data[at] = byte
    try:
        found = only_text(bytes(data))
    except BadRecording:
        return
    assert type(found) in (bytes, str)


@given(st.binary(max_size=200))
def test_any_bytes_give_text_or_a_refusal(data: bytes) -> None:
    with pytest.raises(BadRecording):
        only_text(data)
