# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The way in for whole messages, compiled: read, unmasked and checked in one go.

It stands before picows on a connection. All connections of a thread are read into one buffer, which
stays in the processor's cache; a data frame that is a whole message goes from there into the bytes
that are delivered, or for a message that is passed on (``Passing``) into the bytes that go out.
Everything else (control frames, fragments, whatever breaks the rules) goes on to picows as it came.
What that saves: docs/decisions/0014-fast-reader.md. Sections in comments are those of RFC 6455.
"""

import asyncio
import logging
import threading

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "unmask.h":
    int unmask(uint8_t *to, const uint8_t *from_, size_t size, const uint8_t *mask)

cdef enum:
    # A preview's frame comes in one read.
    SHARED_BYTES = 256 * 1024
    # What has to be there before a message is begun: its header (5.2) and what it begins with.
    HEADER_MAX = 14
    BEGINNING_MAX = 64
    KEPT_MAX = HEADER_MAX + BEGINNING_MAX
    TEXT = 1
    BINARY = 2
    FIRST_CONTROL = 8

_of_thread = threading.local()
_log = logging.getLogger("uvicorn.error")


cdef class _Shared:
    """A thread's buffer. Whoever is read uses it up before the next one is."""

    cdef bytearray _memory
    cdef readonly object view
    cdef uint8_t *start

    def __cinit__(self):
        # Before it there is room for what was kept of a message's beginning.
        self._memory = bytearray(KEPT_MAX + SHARED_BYTES)
        self.start = <uint8_t *>PyByteArray_AS_STRING(self._memory) + KEPT_MAX
        self.view = memoryview(self._memory)[KEPT_MAX:]


cdef _Shared _shared_by_thread():
    shared = getattr(_of_thread, "shared", None)
    if shared is None:
        _of_thread.shared = shared = _Shared()
    return shared


cdef class _Base:
    # An extension type's first base must be one; asyncio asks for its own as another.
    pass


cdef class FastReader(_Base, asyncio.BufferedProtocol):
    """Between the event loop and picows' ``protocol``. Messages go where ``assembler`` delivers.

    Memory for a message of up to ``max_bytes`` is taken on its header's word, which costs address
    space; pages come with the bytes. What is larger is refused by picows.
    """

    cdef object _protocol, _assembler, _transport, _passing
    cdef _Shared _shared
    cdef bytes _came, _goes
    cdef uint64_t _max_bytes, _passed_max
    # The message in hand: its bytes, where the next one goes, how many come, and the key from the
    # next one on.
    cdef bytes _message
    cdef uint8_t *_to
    cdef Py_ssize_t _left
    cdef uint8_t _mask[4]
    cdef bint _is_text
    # Whether it is passed on; where in it follows what it begins with; what was found in that.
    cdef bint _is_passed, _has_special
    cdef int _rest_at
    # How many bytes of a frame still go to picows; all of them once it has to end the connection.
    cdef uint64_t _forward
    cdef bint _is_lost
    cdef bint _in_fragments
    # The beginning of a frame of which more is needed.
    cdef uint8_t _kept[KEPT_MAX]
    cdef Py_ssize_t _kept_size

    def __init__(self, protocol, assembler, passing, max_bytes):
        self._protocol = protocol
        self._assembler = assembler
        self._transport = assembler.transport
        self._passing = passing
        self._max_bytes = max_bytes
        self._shared = _shared_by_thread()
        self._came = self._goes = b""
        if passing is not None:
            self._came, self._goes = passing.came, passing.goes
            self._passed_max = passing.max_bytes
            if not 0 < len(self._came) <= BEGINNING_MAX:
                raise ValueError(f"what a message begins with has 1 to {BEGINNING_MAX} bytes")

    # -- called by the event loop ------------------------------------------------------------------

    def get_buffer(self, _sizehint):
        return self._shared.view

    def buffer_updated(self, Py_ssize_t nbytes):
        cdef uint8_t *at = self._shared.start
        cdef uint8_t *end = at + nbytes
        cdef Py_ssize_t taken
        if self._kept_size:
            at -= self._kept_size
            memcpy(at, self._kept, self._kept_size)
            self._kept_size = 0
        while at < end:
            if self._message is not None:
                taken = self._fill(at, end - at)
            elif self._forward or self._is_lost:
                taken = self._pass_to_picows(at, end - at)
            else:
                taken = self._begin(at, end - at)
                if taken < 0:
                    self._kept_size = end - at
                    memcpy(self._kept, at, self._kept_size)
                    return
            at += taken

    def eof_received(self):
        return self._protocol.eof_received()

    def connection_lost(self, exc):
        self._protocol.connection_lost(exc)

    def pause_writing(self):
        self._protocol.pause_writing()

    def resume_writing(self):
        self._protocol.resume_writing()

    # -- a frame's beginning -----------------------------------------------------------------------

    cdef Py_ssize_t _begin(self, const uint8_t *at, Py_ssize_t size) except? -2:
        """Begin a message, or leave the frame to picows. Bytes used; -1 when more are needed."""
        cdef int opcode, header = 6, i
        cdef uint64_t length
        cdef Py_ssize_t begins
        if size < 2:
            return -1
        opcode = at[0] & 0x0F
        length = at[1] & 0x7F
        if length == 126:
            header = 8
            if size < 4:
                return -1
            length = (<uint64_t>at[2] << 8) | at[3]
            self._is_lost = length < 126
        elif length == 127:
            header = 14
            if size < 10:
                return -1
            length = 0
            for i in range(8):
                length = (length << 8) | at[2 + i]
            self._is_lost = length < 65536 or length >> 63
        if self._is_lost or not at[1] & 0x80:
            self._is_lost = True  # 5.1, 5.2: not masked, or a length in more bytes than it needs
            return 0
        if (
            at[0] & 0xF0 != 0x80  # in fragments, or with an extension's bits
            or not TEXT <= opcode <= BINARY
            or length > self._max_bytes
            or self._in_fragments
        ):
            if opcode < FIRST_CONTROL:
                self._in_fragments = not at[0] & 0x80
            self._forward = header + length
            return 0
        begins = len(self._came)
        if not (opcode == TEXT and begins + 2 < <Py_ssize_t>length
                and length <= begins + 2 + self._passed_max):
            begins = 0
        if size < header + begins:
            return -1
        memcpy(self._mask, at + header - 4, 4)
        self._is_text = opcode == TEXT
        self._is_passed = begins and self._begins_so(at + header, begins)
        if self._is_passed:
            self._begin_passed(length - begins, begins)
            return header + begins
        self._left = length
        self._message = PyBytes_FromStringAndSize(NULL, length)
        self._to = <uint8_t *>PyBytes_AS_STRING(self._message)
        if not length:
            self._end()
        return header

    cdef bint _begins_so(self, const uint8_t *payload, Py_ssize_t size) noexcept:
        cdef uint8_t text[BEGINNING_MAX]
        unmask(text, payload, size, self._mask)
        return memcmp(text, PyBytes_AS_STRING(self._came), size) == 0

    cdef int _begin_passed(self, Py_ssize_t left, Py_ssize_t begins) except -1:
        """Write the header and the beginning with which it goes out."""
        cdef uint8_t head[10]
        cdef int head_size = 2, i
        cdef Py_ssize_t goes = len(self._goes), length = goes + left
        head[0] = 0x80 | TEXT
        if length < 126:
            head[1] = length
        elif length < 65536:
            head_size = 4
            head[1], head[2], head[3] = 126, length >> 8, length & 0xFF
        else:
            head_size = 10
            head[1] = 127
            for i in range(8):
                head[2 + i] = (<uint64_t>length >> (8 * (7 - i))) & 0xFF
        self._rest_at = head_size + goes
        self._message = PyBytes_FromStringAndSize(NULL, self._rest_at + left)
        self._to = <uint8_t *>PyBytes_AS_STRING(self._message)
        memcpy(self._to, head, head_size)
        memcpy(self._to + head_size, PyBytes_AS_STRING(self._goes), goes)
        self._to += self._rest_at
        self._left = left
        self._has_special = False
        self._turn_mask(begins)
        return 0

    # -- its bytes ---------------------------------------------------------------------------------

    cdef Py_ssize_t _fill(self, const uint8_t *at, Py_ssize_t size) except -1:
        """Take bytes of the message in hand. How many."""
        cdef Py_ssize_t taken = min(size, self._left)
        # What closes the string and the array is none of what is inside.
        cdef Py_ssize_t inside = min(taken, max(0, self._left - 2)) if self._is_passed else taken
        if self._unmask(at, inside):
            self._has_special = True
        self._unmask(at + inside, taken - inside)
        if not self._left:
            self._end()
        return taken

    cdef bint _unmask(self, const uint8_t *at, Py_ssize_t size) noexcept:
        cdef bint has_special
        if not size:
            return False
        has_special = unmask(self._to, at, size, self._mask)
        self._to += size
        self._left -= size
        self._turn_mask(size)
        return has_special

    cdef void _turn_mask(self, Py_ssize_t size) noexcept:
        """Have the key begin with the byte for what follows ``size`` more bytes (5.3)."""
        cdef uint8_t mask[4]
        cdef int i
        memcpy(mask, self._mask, 4)
        for i in range(4):
            self._mask[i] = mask[(size + i) % 4]

    cdef int _end(self) except -1:
        """Deliver the message in hand."""
        cdef bytes message = self._message
        cdef object delivered = message
        self._message = None
        if self._transport.is_close_frame_sent:
            return 0
        if self._is_passed:
            if message.endswith(b'"]'):
                delivered = self._passing.passed(message, self._rest_at, not self._has_special)
            else:
                delivered = self._came + message[self._rest_at:]
        try:
            self._assembler.deliver(delivered, self._is_text)
        except Exception:  # a listener's bug ends its connection only
            _log.exception("exception in a WebSocket's listener")
            self._assembler.fail(1011, "internal error")
        return 0

    # -- what is for picows ------------------------------------------------------------------------

    cdef Py_ssize_t _pass_to_picows(self, const uint8_t *at, Py_ssize_t size) except -1:
        """Give picows the frame's next bytes. How many."""
        cdef Py_ssize_t step, taken = size
        if not self._is_lost:
            taken = <Py_ssize_t>min(<uint64_t>size, self._forward)
            self._forward -= taken
        data = memoryview(at[:taken])
        while data:
            room = self._protocol.get_buffer(-1)
            step = min(len(room), len(data))
            room[:step] = data[:step]
            self._protocol.buffer_updated(step)
            data = data[step:]
        return taken
