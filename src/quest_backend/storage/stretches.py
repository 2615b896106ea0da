"""A bucket's keys cut into stretches that are listed side by side. No I/O.

A listing is one page after the other, and the store is what takes the time. So an idle reader
takes the later half of what another one has still to read, by the time in the keys of
recordings: no stretch has to be known beforehand, and an uneven one is just cut more often.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quest_backend.protocol.recordings import PREFIX, is_folder

_FOLDER_FORMAT = "%Y%m%d_%H%M%S"
# Less is not worth a request.
_LEAST = timedelta(seconds=60)
# Borders lie inside of a folder, before every usual name: SeaweedFS skips all of a folder that a
# listing is to start after, and obstore cuts a slash at the end away.
_FIRST = "!"


@dataclass(slots=True)
class Stretch:
    """Keys after ``after`` up to ``until`` (None: to the end); ``at`` is the last one read.

    ``pages`` have been read since it was begun or cut.
    """

    after: str = ""
    until: str | None = None
    at: str = ""
    pages: int = 0

    def ends_before(self, key: str) -> bool:
        """Whether ``key`` is beyond it."""
        return self.until is not None and key > self.until

    def read(self, last: str) -> None:
        """A page was read; ``last`` is its last key."""
        self.at = last
        self.pages += 1


def cut(reading: Iterable[Stretch], now: datetime) -> Stretch | None:
    """The later half of the stretch that has most left; None when nothing is worth cutting.

    A stretch of which nothing was read since the last cut stays as it is, so that there are
    never more cuts than pages.
    """
    best: tuple[timedelta, Stretch, datetime] | None = None
    for stretch in reading:
        begin = _time_of(stretch.at) if stretch.pages else None
        if begin is None:
            continue
        end = _time_of(stretch.until) if stretch.until else max(now, begin)
        if end is not None and end - begin > (best[0] if best else _LEAST):
            best = (end - begin, stretch, begin)
    if best is None:
        return None
    left, stretch, begin = best
    border = f"{PREFIX}{begin + left / 2:{_FOLDER_FORMAT}}/{_FIRST}"
    later = Stretch(after=border, until=stretch.until)
    stretch.until, stretch.pages = border, 0
    return later


def _time_of(key: str) -> datetime | None:
    folder = key.removeprefix(PREFIX).partition("/")[0]
    if not key.startswith(PREFIX) or not is_folder(folder):
        return None
    return datetime.strptime(folder, _FOLDER_FORMAT).replace(tzinfo=UTC)
