"""Reading by byte range without knowing where from: readers ask, a driver fetches.

A reader is a generator (``Reads``). It yields the spans that it needs next, as a tuple, and is
sent their bytes in the same order; spans of one tuple may be fetched at the same time. What it
returns is its result. So one reader runs over a local file, over S3 on an event loop, in a test.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Span(NamedTuple):
    """Bytes ``start`` to ``end``, without ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.start


Reads = Generator[tuple[Span, ...], tuple[bytes, ...], T]

Fetch = Callable[[Span], bytes]


class ShortRead(Exception):  # noqa: N818 - the source failed, not the recording
    """The source gave another number of bytes than asked for: it changed or failed; try again."""


def read(reads: Reads[T], fetch: Fetch) -> T:
    """Run a reader over a blocking source.

    Raises:
        ShortRead: the source gave another number of bytes than asked for.
        Exception: what ``fetch`` raises.
    """
    try:
        spans = next(reads)
        while True:
            spans = reads.send(tuple(checked(span, fetch(span)) for span in spans))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        reads.close()


def checked(span: Span, data: bytes) -> bytes:
    """``data`` if it is as long as ``span``.

    Raises:
        ShortRead: it is not.
    """
    if len(data) != span.length:
        raise ShortRead(f"asked for {span.length} bytes at {span.start}, got {len(data)}")
    return data


class Held:
    """Bytes of a file that were fetched so far, and the fetching of what is missing.

    Spans are held as they were fetched; ``drop`` lets go of all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._spans: list[tuple[Span, bytes]] = []

    def take(self, start: int, length: int) -> bytes | None:
        """These bytes, or None unless one fetched span holds them all."""
        for span, data in reversed(self._spans):
            if span.start <= start and start + length <= span.end:
                return data[start - span.start : start - span.start + length]
        return None

    def fetch(self, *spans: Span) -> Reads[None]:
        """Fetch spans (cut at the file's end) and hold them."""
        wanted = tuple(
            cut
            for span in spans
            if (cut := Span(max(0, span.start), min(span.end, self.size))).length > 0
        )
        if wanted:
            self._spans.extend(zip(wanted, (yield wanted), strict=True))

    def read(self, start: int, length: int, ahead: int = 0) -> Reads[bytes]:
        """These bytes; when they have to be fetched, ``ahead`` more come with them.

        The result is shorter than asked for only at the file's end.
        """
        length = max(0, min(length, self.size - start))
        found = self.take(start, length)
        if found is None:
            yield from self.fetch(Span(start, start + max(length, ahead)))
            found = self.take(start, length)
        return found or b""

    def drop(self) -> None:
        """Let go of all bytes."""
        self._spans.clear()
