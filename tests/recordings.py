"""Recordings that tests make: sound ones, and every kind of bad one. Nothing is kept in the repo."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from quest_backend.qa.ranges import Fetch, Span

SESSION = "20260206_143052"


class Unpicklable:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def metadata(frames: int, **changes: object) -> bytes:
    fields = {
        "capture_date": "2026-02-06T14:30:52Z",
        "success": True,
        "device_id": "QUEST_001",
        "app_version": "2.3.0",
        "duration_seconds": max(frames, 1) / 60,
        "total_frames": frames,
        **changes,
    }
    return json.dumps(fields).encode()


def arrays(frames: int = 600, **changes: Any) -> dict[str, Any]:
    """The eight arrays of a good recording; a change to None leaves one out."""
    made: dict[str, Any] = {
        "left_confidence": np.ones(frames, np.float32),
        "right_confidence": np.ones(frames, np.float32),
        "left_tracked": np.ones(frames, np.bool_),
        "right_tracked": np.ones(frames, np.bool_),
        "both_hands_not_in_frame": np.zeros(frames, np.bool_),
        "hand_speed_exceeded": np.zeros(frames, np.bool_),
        "tracking_errors": np.zeros(frames, np.bool_),
        "metadata": np.array([metadata(frames)]),
        **changes,
    }
    return {name: array for name, array in made.items() if array is not None}


def npz(given: dict[str, Any] | None = None, *, packed: bool = True) -> bytes:
    """An NPZ file as NumPy writes it."""
    file = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(file, **(arrays() if given is None else given))
    return file.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    """One array as an ``.npy`` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def raw_npy(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An ``.npy`` file with any header."""
    text = header.encode("latin-1") if isinstance(header, str) else header
    length = struct.pack("<H" if version[0] == 1 else "<L", len(text))
    return b"\x93NUMPY" + version + length + text + data


def pickled(payload: bytes, shape: str = "(1,)") -> bytes:
    """An object array with any pickle in it."""
    return raw_npy(f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}\n", payload)


def files(given: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The members of a good NPZ file by name."""
    return {f"{name}.npy": npy(array) for name, array in (given or arrays()).items()}


def zipped(
    members: dict[str, bytes] | list[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip file of any members; a list may name one twice."""
    file = io.BytesIO()
    items = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(file, "w", how) as made:
        for name, data in items:
            made.writestr(zipfile.ZipInfo(name), data, how)
    return file.getvalue()


def zeros_bomb(size: int) -> bytes:
    """A raw deflate stream of about ``size`` zeros, without ever holding them."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = bytes(1 << 20)
    out = [deflate.compress(piece) for _ in range(size >> 20)]
    return b"".join([*out, deflate.flush()])


def rawzip(name: bytes, packed: bytes, size: int, crc: int = 0, method: int = 8) -> bytes:
    """A zip file of one member whose header may say anything."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, method, 0, 0, crc, len(packed),
                        size & 0xFFFFFFFF, len(name), 0) + name + packed  # fmt: skip
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, method, 0, 0, crc, len(packed),
                        size & 0xFFFFFFFF, len(name), 0, 0, 0, 0, 0, 0) + name  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


class Counted:
    """Range reads of bytes in memory, counted."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.requests = 0
        self.bytes = 0

    def __call__(self, span: Span) -> bytes:
        assert 0 <= span.start < span.end <= len(self.data), "asked for bytes that are not there"
        self.requests += 1
        self.bytes += span.length
        return self.data[span.start : span.end]


def fetcher(data: bytes) -> Fetch:
    return Counted(data)


def pickle_of(value: object, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol)


def array_pickle_zip() -> bytes:
    """Metadata whose pickle doubles a tuple a hundred thousand times."""
    doubling = b"\x80\x02]" + b"q\x00h\x00\x86" * 100_000 + b"."
    return zipped(files() | {"metadata.npy": pickled(doubling)})
