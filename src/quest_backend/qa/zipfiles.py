"""The central directory of a zip file, read by range, strictly and within bounds.

Sections named in comments are those of PKWARE's APPNOTE.TXT 6.3.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from quest_backend.qa.problems import BadRecording, ProblemCode
from quest_backend.qa.ranges import Held, Reads

# The end record with the longest comment (65,557 bytes), a zip64 end, and room for the directory
# of a usual recording, so that one request reads it all.
TAIL_BYTES = 80 * 1024
MAX_DIRECTORY_BYTES = 1024 * 1024
MAX_MEMBERS = 4096

STORED, DEFLATED = 0, 8

# A local header with its name and extra field, as a rule; longer ones cost one more request.
HEADER_BYTES = 1024

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_END_MAGIC, _LOCATOR_MAGIC, _END64_MAGIC = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_ENTRY_MAGIC, _LOCAL_MAGIC = b"PK\x01\x02", b"PK\x03\x04"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the zip, as the central directory describes it; sizes in bytes.

    ``reach`` is where the next member or the directory starts: its data cannot go beyond.
    """

    name: bytes
    method: int
    flags: int
    crc: int
    packed_size: int
    size: int
    offset: int
    reach: int


def _bad(message: str) -> BadRecording:
    return BadRecording(ProblemCode.BAD_DIRECTORY, message)


def read_directory(held: Held) -> Reads[tuple[Member, ...]]:
    """The members of a zip file, in the directory's order.

    Raises:
        BadRecording: no zip file, a damaged or contradictory directory, more than
            ``MAX_MEMBERS`` members, or a name that leads out of a folder.
    """
    start = max(0, held.size - TAIL_BYTES)
    tail = yield from held.read(start, TAIL_BYTES)
    if not tail.rstrip(b"\0"):
        raise BadRecording(ProblemCode.NOT_A_ZIP, "the file is empty")
    at = _find_end(tail)
    if at is None:
        head = yield from held.read(0, 4)
        if head == _LOCAL_MAGIC:
            raise BadRecording(ProblemCode.TRUNCATED, "the zip file ends too early")
        raise BadRecording(ProblemCode.NOT_A_ZIP, "the file is no zip file")
    count, length, offset, end = yield from _end_of_directory(held, tail, start, at)
    if count > MAX_MEMBERS:
        raise BadRecording(
            ProblemCode.TOO_MANY_MEMBERS,
            f"the zip file has {count} members, more than {MAX_MEMBERS}",
        )
    if length > MAX_DIRECTORY_BYTES:
        raise BadRecording(ProblemCode.TOO_LARGE, f"the zip directory has {length} bytes")
    if offset + length != end:
        raise _bad("the zip directory is not where the end of the file says")
    directory = yield from held.read(offset, length)
    return _members(directory, count, offset)


def _find_end(tail: bytes) -> int | None:
    at = len(tail)
    while (at := tail.rfind(_END_MAGIC, 0, at)) >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(
            tail
        ):
            return at
    return None


def _end_of_directory(
    held: Held, tail: bytes, start: int, at: int
) -> Reads[tuple[int, int, int, int]]:
    """Members, bytes and offset of the directory, and where it has to end."""
    _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, at)
    locator_at = at - _LOCATOR.size
    if locator_at < 0 or tail[locator_at : locator_at + 4] != _LOCATOR_MAGIC:
        if (disk, first_disk, here) != (0, 0, count):
            raise _bad("the zip file is split over several disks")
        return count, length, offset, start + at
    _, disk64, offset64, _ = _LOCATOR.unpack_from(tail, locator_at)
    record = yield from held.read(offset64, _END64.size)
    if len(record) != _END64.size or record[:4] != _END64_MAGIC or disk64 != 0:
        raise _bad("the zip64 end record is not where it should be")
    _, _, _, _, disk, first_disk, here, count64, length64, start64 = _END64.unpack(record)
    if (disk, first_disk, here) != (0, 0, count64):
        raise _bad("the zip file is split over several disks")
    for small, large, full in (
        (count, count64, _FULL16), (length, length64, _FULL32), (offset, start64, _FULL32)
    ):  # fmt: skip
        if small not in (large, full):
            raise _bad("the two end records of the zip file contradict each other")
    return count64, length64, start64, offset64


def _members(directory: bytes, count: int, directory_at: int) -> tuple[Member, ...]:
    found: list[tuple[bytes, int, int, int, int, int, int]] = []
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory) or directory[at : at + 4] != _ENTRY_MAGIC:
            raise _bad("the zip directory is damaged")
        fields = _ENTRY.unpack_from(directory, at)
        flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
        name_length, extra_length, comment_length = fields[10], fields[11], fields[12]
        disk, offset = fields[13], fields[16]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_length
        at = extra_at + extra_length + comment_length
        if at > len(directory) or disk not in (0, _FULL16):
            raise _bad("the zip directory is damaged")
        name = directory[name_at:extra_at]
        _check_name(name)
        extra = directory[extra_at : extra_at + extra_length]
        size, packed, offset = _zip64(extra, size, packed, offset)
        found.append((name, method, flags, crc, packed, size, offset))
    if at != len(directory):
        raise _bad("the zip directory has another length than it says")
    return _with_reach(found, directory_at)


def _with_reach(
    found: list[tuple[bytes, int, int, int, int, int, int]], directory_at: int
) -> tuple[Member, ...]:
    starts = [*sorted({entry[6] for entry in found}), directory_at]
    if len(starts) != len(found) + 1:
        raise _bad("two members of the zip file share their bytes")
    reach = dict(pairwise(starts))
    members = []
    for name, method, flags, crc, packed, size, offset in found:
        if offset + _LOCAL.size + len(name) + packed > reach.get(offset, 0):
            raise _bad("a member of the zip file reaches into the next one")
        members.append(Member(name, method, flags, crc, packed, size, offset, reach[offset]))
    return tuple(members)


def _check_name(name: bytes) -> None:
    parts = name.replace(b"\\", b"/").split(b"/")
    drive = len(name) > 1 and name[1:2] == b":"
    control = any(byte < 32 for byte in name)
    if not name or parts[0] == b"" or b".." in parts or b"\\" in name or drive or control:
        raise BadRecording(ProblemCode.UNSAFE_NAME, "a member's name leads out of its folder")


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset from the zip64 extra field where they are marked as being there (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1:
            values = [
                value for (value,) in struct.iter_unpack("<Q", extra[at : at + length // 8 * 8])
            ]
            given = iter(values)
            try:
                size = next(given) if size == _FULL32 else size
                packed = next(given) if packed == _FULL32 else packed
                offset = next(given) if offset == _FULL32 else offset
            except StopIteration:
                raise _bad("a zip64 field is too short") from None
            return size, packed, offset
        at += length
    return size, packed, offset


def data_span(member: Member, held: Held) -> Reads[tuple[int, int]]:
    """Where the packed data of ``member`` starts and ends, by its local header.

    Raises:
        BadRecording: the local header is missing or contradicts the directory; encrypted.
    """
    name = member.name.decode("ascii", "replace")
    if member.flags & _ENCRYPTED or member.method not in (STORED, DEFLATED):
        raise BadRecording(
            ProblemCode.BAD_MEMBER, f"{name}: encrypted, or packed in another way than deflate"
        )
    header = yield from held.read(member.offset, _LOCAL.size, HEADER_BYTES)
    if len(header) != _LOCAL.size or header[:4] != _LOCAL_MAGIC:
        raise BadRecording(ProblemCode.BAD_MEMBER, f"{name}: not where the zip directory says")
    fields = _LOCAL.unpack(header)
    start = member.offset + _LOCAL.size + fields[9] + fields[10]
    written = yield from held.read(member.offset + _LOCAL.size, fields[9])
    if (
        written != member.name
        or fields[3] != member.method
        or start + member.packed_size > member.reach
    ):
        raise BadRecording(
            ProblemCode.BAD_MEMBER, f"{name}: its header contradicts the zip directory"
        )
    return start, start + member.packed_size
