"""How often lists go out: a few times a second, rarer when they are large or many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_backend.fleet.lists import CLIENT_BYTES_PER_S, PAUSE_S, SERVER_BYTES_PER_S, pause_s


@pytest.mark.parametrize(
    ("list_bytes", "clients", "seconds"),
    [
        (0, 0, 0.3),
        (13_700, 100, 0.3),  # a lab of 100 headsets
        (137_000, 100, 0.548),  # a warehouse of 1,000: what a client's Wi-Fi takes
        (137_000, 1000, 2.14),  # all on one server: what the server takes
    ],
)
def test_small_fleets_hear_at_once_and_large_ones_soon(
    list_bytes: int, clients: int, seconds: float
) -> None:
    assert pause_s(list_bytes, clients) == pytest.approx(seconds, rel=0.01)


@given(st.integers(0, 10**8), st.integers(0, 10**5))
def test_nobody_is_sent_more_than_the_bounds(list_bytes: int, clients: int) -> None:
    pause = pause_s(list_bytes, clients)
    assert pause >= PAUSE_S
    assert list_bytes / pause <= CLIENT_BYTES_PER_S * 1.001
    assert list_bytes * clients / pause <= SERVER_BYTES_PER_S * 1.001
