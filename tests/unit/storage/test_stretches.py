"""Cutting a listing: every key is read once, whatever is cut when."""

import bisect
import random
from datetime import UTC, datetime, timedelta

import pytest

from quest_backend.storage.stretches import Stretch, cut

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def keys(count: int, step_s: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    folders = [BEGIN + timedelta(seconds=rng.randrange(count * step_s)) for _ in range(count)]
    found = {f"sessions/{one:%Y%m%d_%H%M%S}/{name}"
             for one in folders for name in ("recording.mp4", "session_data.npz")}  # fmt: skip
    extra = {
        "client_output/a.zip",
        "a.txt",
        "zz.txt",
        "sessions/odd/x",
        "sessions/.x",
        "sessions.x",
    }
    return sorted(found | extra)


@pytest.mark.parametrize("seed", range(30))
def test_every_key_is_read_once(seed: int) -> None:
    rng = random.Random(seed)
    everything = keys(rng.choice([0, 1, 300, 3000]), rng.choice([1, 60, 3600]), seed)
    waiting, seen = [Stretch()], []
    reading: list[Stretch] = []
    pages = cuts = 0
    while waiting or reading:
        while len(reading) < 4 and (waiting or rng.random() < 0.9):
            found = waiting.pop(0) if waiting else cut(reading, NOW)
            if found is None:
                break
            cuts += 1
            found.at = found.after
            reading.append(found)
        stretch = rng.choice(reading)
        start = bisect.bisect_right(everything, stretch.at)
        page = everything[start : start + 50]
        pages += 1
        mine = [key for key in page if not stretch.ends_before(key)]
        seen += mine
        if len(mine) < 50:
            reading.remove(stretch)
        else:
            stretch.read(mine[-1])
    assert sorted(seen) == everything
    assert cuts <= pages + 1


def test_the_stretch_with_most_left_is_cut_in_the_middle_of_its_time() -> None:
    short = Stretch(after="sessions/20260101_000000/!", until="sessions/20260102_000000/!")
    long = Stretch(after="sessions/20260102_000000/!")
    short.read("sessions/20260101_000000/recording.mp4")
    long.read("sessions/20260102_000000/recording.mp4")
    later = cut([short, long], datetime(2026, 1, 12, tzinfo=UTC))
    assert later == Stretch(after="sessions/20260107_000000/!", until=None)
    assert long.until == "sessions/20260107_000000/!"
    assert cut([long], NOW) is None, "nothing was read of it since"


@pytest.mark.parametrize("at", ["", "sessions/odd/x", "zz", "sessions/20260531_235930/x"])
def test_nothing_is_cut_without_knowing_where_it_is_or_with_little_left(at: str) -> None:
    stretch = Stretch(after="sessions/!")
    stretch.read(at)
    assert cut([stretch], NOW) is None
