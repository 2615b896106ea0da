"""The header of an ``.npy`` array (NumPy enhancement proposal 1), read without evaluating it."""

import re
import struct
from dataclasses import dataclass

from quest_backend.qa.problems import BadRecording, ProblemCode

# Headers of plain one-dimensional arrays have 128 bytes.
MAX_HEADER_BYTES = 4096
_MAGIC = b"\x93NUMPY"
_TOKEN = re.compile(r"\s*(?:'([^'\\]*)'|\"([^\"\\]*)\"|(\d+)L?|(True|False)|([{}():,]))")
# Byte order, kind, and size in bytes (in characters for U): the plain dtypes.
_DESCR = re.compile(r"([<>|=])([a-zA-Z?])(\d{0,9})")


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What an array is, before its bytes are read.

    ``descr`` is a plain dtype as NumPy writes it (``<f4``); ``kind`` and ``item_bytes`` are its
    parts; the data starts at byte ``data_at`` of the member.
    """

    descr: str
    kind: str
    item_bytes: int
    fortran_order: bool
    shape: tuple[int, ...]
    data_at: int

    @property
    def count(self) -> int:
        """How many elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count


def _bad(name: str, what: str) -> BadRecording:
    return BadRecording(ProblemCode.BAD_ARRAY_HEADER, f"{name}: {what}")


def parse_header(head: bytes, name: str) -> ArrayHeader:
    """The header at the start of a member; ``head`` needs ``MAX_HEADER_BYTES`` of it, or all.

    Raises:
        BadRecording: no ``.npy``, a damaged header, or no plain dtype.
    """
    if head[:6] != _MAGIC or len(head) < 10:
        raise _bad(name, "not an .npy array")
    major = head[6]
    if major not in (1, 2, 3) or head[7] != 0:
        raise _bad(name, f"unknown .npy version {major}.{head[7]}")
    start = 10 if major == 1 else 12
    if len(head) < start:
        raise _bad(name, "the array header is cut off")
    (length,) = struct.unpack_from("<H" if major == 1 else "<L", head, 8)
    if start + length > MAX_HEADER_BYTES:
        raise _bad(name, "the array header is too long")
    if start + length > len(head):
        raise _bad(name, "the array header is cut off")
    text = head[start : start + length].decode("latin-1")
    descr, fortran_order, shape = _Fields(text, name).parse()
    found = _DESCR.fullmatch(descr)
    if found is None:
        raise BadRecording(ProblemCode.WRONG_DTYPE, f"{name}: not an array of a plain type")
    order, kind, digits = found.groups()
    size = int(digits or 0) * (4 if kind == "U" else 1)
    return ArrayHeader(order + kind + digits, kind, size, fortran_order, shape, start + length)


class _Fields:
    """The dict literal of a header: three known keys, in any order, nothing else."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text.rstrip()
        self._name = name
        self._at = 0

    def parse(self) -> tuple[str, bool, tuple[int, ...]]:
        self._expect("{")
        fields: dict[str, str | bool | tuple[int, ...]] = {}
        while not self._accept("}"):
            key = self._string()
            self._expect(":")
            if key in fields:
                raise self._damaged()
            fields[key] = self._value(key)
            if not self._accept(","):
                self._expect("}")
                break
        descr, fortran, shape = (fields.get(key) for key in ("descr", "fortran_order", "shape"))
        if (
            self._at != len(self._text)
            or len(fields) != 3
            or not isinstance(descr, str)
            or not isinstance(fortran, bool)
            or not isinstance(shape, tuple)
        ):
            raise self._damaged()
        return descr, fortran, shape

    def _damaged(self) -> BadRecording:
        return _bad(self._name, "the array header is damaged, or its type is not plain")

    def _token(self) -> "re.Match[str]":
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise self._damaged()
        return found

    def _accept(self, mark: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found[5] != mark:
            return False
        self._at = found.end()
        return True

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise self._damaged()

    def _string(self) -> str:
        found = self._token()
        text = found[1] if found[1] is not None else found[2]
        if text is None:
            raise self._damaged()
        self._at = found.end()
        return str(text)

    def _value(self, key: str) -> str | bool | tuple[int, ...]:
        if key == "descr":
            return self._string()
        if key == "fortran_order":
            found = self._token()
            if found[4] is None:
                raise self._damaged()
            self._at = found.end()
            return bool(found[4] == "True")
        if key == "shape":
            return self._shape()
        raise self._damaged()

    def _shape(self) -> tuple[int, ...]:
        self._expect("(")
        lengths: list[int] = []
        while not self._accept(")"):
            found = self._token()
            # 2**63 has 19 digits; more is no length of anything.
            if found[3] is None or len(found[3]) > 19 or len(lengths) == 32:
                raise self._damaged()
            lengths.append(int(found[3]))
            self._at = found.end()
            if not self._accept(","):
                self._expect(")")
                break
        return tuple(lengths)
