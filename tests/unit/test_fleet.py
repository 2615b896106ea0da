"""Decisions about the fleet."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_backend.fleet.devices import Device, FleetView, summary
from quest_backend.fleet.frames import FramePacer
from quest_backend.fleet.recording import Denial, denial, ignores
from quest_backend.fleet.sessions import (
    TRANSITIONS,
    Action,
    Session,
    SessionRefused,
    advance,
    duration_s,
)
from quest_backend.realtime.rates import RateWindows

IDS = ["a", "b", "c"]
devices = st.builds(
    Device,
    device_id=st.sampled_from(IDS),
    revision=st.integers(1, 30),
    socket_id=st.sampled_from(["s1", "s2"]),
    is_online=st.booleans(),
    last_seen=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
    locked_by=st.sampled_from(["", "t1", "t2"]),
    is_recording=st.booleans(),
    custom_name=st.sampled_from(["", "Bench"]),
)
steps = st.lists(
    st.one_of(
        devices,
        st.tuples(st.sampled_from(IDS), st.sampled_from([0.1, 0.9])),
        st.sampled_from(["remove a", "remove b"]),
    ),
    max_size=40,
)


@given(steps, st.integers(0, 40))
def test_snapshot_plus_updates_is_a_fresh_snapshot(history: list[object], subscribe: int) -> None:
    view = FleetView()
    folded: dict[str, object] | None = None
    for index, step in enumerate(history):
        changed: list[str] = []
        if isinstance(step, Device):
            if view.apply(step):
                changed = [step.device_id]
        elif isinstance(step, tuple):
            device_id, level = step
            if view.seen(device_id, "2026-01-04", {"batteryLevel": level}):
                changed = [device_id]
        else:
            view.remove([str(step)[-1]])
            if folded is not None:
                folded = {row["deviceId"]: row for row in view.snapshot()}
        if folded is not None:
            folded |= {device_id: view.state(device_id) for device_id in changed}
        if index == subscribe:
            folded = {row["deviceId"]: row for row in view.snapshot()}
    if folded is not None:
        assert folded == {row["deviceId"]: row for row in view.snapshot()}


@given(st.lists(devices, max_size=20, unique_by=lambda d: d.revision), st.randoms())
def test_commits_converge_in_any_order(history: list[Device], source: object) -> None:
    first, second = FleetView(), FleetView()
    for device in history:
        first.apply(device)
    shuffled = sorted(history, key=lambda device: hash((device.revision * 7919) % 31))
    for device in shuffled:
        second.apply(device)
    assert first.devices.keys() == second.devices.keys()
    for device_id, device in first.devices.items():
        other = second.devices[device_id]
        assert (device.revision, device.is_online, device.locked_by) == (
            other.revision,
            other.is_online,
            other.locked_by,
        )


def test_an_older_device_counts_only_when_the_store_lost_what_was_known() -> None:
    view = FleetView()
    newer = Device("a", revision=5, is_online=True, locked_by="t1")
    older = Device("a", revision=3, is_online=True)
    view.apply(newer)
    assert not view.apply(older)
    assert view.devices["a"].locked_by == "t1"
    assert view.apply(older, force=True)
    assert view.devices["a"].locked_by == ""


def test_summary_of_an_empty_fleet_is_zeros() -> None:
    numbers = summary(FleetView(), 0.25)
    assert numbers["avgBatteryLevel"] == 0
    assert numbers["appVersions"] == []


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (None, Denial.OFFLINE),
        (Device("d"), Denial.OFFLINE),
        (Device("d", is_online=True), None),
        (Device("d", is_online=True, locked_by="me"), None),
        (Device("d", is_online=True, locked_by="you"), Denial.LOCKED),
    ],
)
def test_who_may_command(device: Device | None, why: Denial | None) -> None:
    assert denial(device, "me") is why


@pytest.mark.parametrize(
    ("commanded", "recording", "said", "expected"),
    [
        ("", True, None, False),
        ("start", False, None, True),
        ("start", True, None, False),
        ("stop", True, None, True),
        # What it says itself counts more than what is known of it.
        ("stop", True, False, False),
        ("start", True, False, True),
        ("of a newer version", True, False, False),
    ],
)
def test_whether_a_command_is_ignored(
    commanded: str, recording: bool, said: bool | None, expected: bool
) -> None:
    device = Device("d", is_online=True, is_recording=recording, commanded=commanded)
    assert ignores(device, said) is expected


SESSION = Session("s", "t", "T", ("a",), "pending", "2026-02-06T14:30:52.000Z")


@given(st.lists(st.sampled_from(list(Action)), max_size=12))
def test_sessions_move_only_along_the_table(actions: list[Action]) -> None:
    session = SESSION
    for clock, action in enumerate(actions):
        now = f"2026-02-06T14:31:{clock:02d}.900Z"
        if (session.status, action) in TRANSITIONS:
            after = advance(session, action, now)
            assert after.started_at == (session.started_at or (
                now if action is Action.START else ""
            ))  # fmt: skip
            session = after
        else:
            with pytest.raises(SessionRefused, match="created"):
                advance(session, action, now)
    assert 0 <= duration_s(session) <= 12


def test_duration_is_whole_seconds_from_the_first_start() -> None:
    started = advance(SESSION, Action.START, "2026-02-06T14:31:00.900Z")
    ended = advance(started, Action.END, "2026-02-06T14:31:03.800Z")
    assert duration_s(ended) == 2
    assert duration_s(advance(SESSION, Action.END, "2026-02-06T14:31:03.800Z")) == 0


@given(st.lists(st.floats(0.001, 0.1), min_size=1, max_size=200))
def test_frames_are_paced_and_the_newest_goes_out(gaps: list[float]) -> None:
    pacer = FramePacer(throttle_s=0.016, interval_s=0.033)
    now, sends, taken = 100.0, [], 0
    for gap in gaps:
        now += gap
        if pacer.offer(now):
            taken += 1
            if now >= pacer.due_at:
                pacer.sent(now)
                sends.append(now)
    assert taken >= 1
    assert sends[0] == 100.0 + gaps[0]
    # One that leaves a little late does not put off those that follow.
    assert all(b - a >= 0.033 - FramePacer.SLACK_S - 1e-9 for a, b in pairwise(sends))
    assert len(sends) <= 1 + (sends[-1] - sends[0] + FramePacer.SLACK_S) / 0.033


def _taken(times: list[float]) -> list[float]:
    pacer = FramePacer(throttle_s=0.016, interval_s=0.033)
    return [now for now in times if pacer.offer(now)]


def test_a_steady_stream_that_is_read_late_now_and_then_loses_nothing() -> None:
    times = [100 + number / 55 + (0.007 if number % 3 == 2 else 0.0) for number in range(500)]
    assert _taken(times) == times


def test_two_frames_in_a_row_are_one_too_many_however_long_it_was_quiet() -> None:
    assert _taken([100.0, 100.01, 200.0, 200.01]) == [100.0, 200.0]


@given(st.lists(st.floats(0.0005, 0.05), min_size=2, max_size=300))
def test_no_more_than_one_frame_in_16_ms_is_taken_on_average(gaps: list[float]) -> None:
    taken = _taken([100 + at for at in accumulate(gaps)])
    assert all(b - a >= 0.015 - 0.008 - 1e-9 for a, b in pairwise(taken))
    for first in range(0, len(taken), 7):
        for last in range(first, len(taken), 5):
            # A millisecond is for the source's jitter, 8 are what a stream can be late at most.
            assert last - first <= (taken[last] - taken[first] + 0.008 + 1e-9) / 0.015 + 1


def test_rate_windows_open_with_the_first_message() -> None:
    from quest_backend.protocol.limits import Rate

    windows = RateWindows(multiplier=2)
    assert [windows.allow("e", Rate(1, 5), now) for now in (1.0, 2.0, 3.0, 6.0)] == [
        True,
        True,
        False,
        True,
    ]
