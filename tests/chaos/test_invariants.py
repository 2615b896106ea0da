"""The checker's decisions: each promise, kept and broken."""

from dataclasses import replace

import pytest

from chaos.invariants import MEANING, Finding, Invariant, judge
from chaos.observation import (
    HeadsetSide,
    Observation,
    Promise,
    Result,
    Row,
    Scores,
    Store,
    StoredDevice,
    StoredFile,
    StoredSession,
    StoredTablet,
    TabletSide,
    Takes,
    View,
)

_FILES = {
    "sessions/20260206_143052/recording.mp4": StoredFile(9, "video"),
    "sessions/20260206_143052/session_data.npz": StoredFile(5, "data"),
}
_ROW = Row("h1", online=True, recording=True, locked_by="t1")
_IDLE = Row("h2", online=True)


def kept() -> Observation:
    """Q1 records in a session of T1; Q2 is idle; one recording is stored and scored."""
    return Observation(
        headsets={"Q1": HeadsetSide("h1", recording=True), "Q2": HeadsetSide("h2")},
        tablets={
            "T1": TabletSide(
                "t1",
                {"s1": Promise(frozenset({"recording"}), frozenset({"Q1"}))},
                shows={"Q1": "t1"},
            )
        },
        store=Store(
            {"Q1": StoredDevice(_ROW, "t1", "s1"), "Q2": StoredDevice(_IDLE)},
            {"T1": StoredTablet("t1")},
            {"s1": StoredSession("recording", "T1", "t1", frozenset({"Q1"}), frozenset({"Q1"}))},
            {"t1": frozenset({"Q1"})},
        ),
        views=(View("node1", {"Q1": _ROW, "Q2": _IDLE}),),
        takes={"Q2": Takes(1, tuple(_FILES.items()))},
        bucket=_FILES,
        scores=Scores(
            {"20260206_143052": Result("1:data:video", share={"sessions": 1})}, {"sessions": 1}
        ),
        final=True,
    )


def test_what_is_as_promised_is_found_to_be() -> None:
    verdict = judge(kept())
    assert verdict.findings == []
    assert set(verdict.checked) == set(Invariant) == set(MEANING)
    assert all(verdict.checked.values())


def _device(seen: Observation, device_id: str, device: StoredDevice) -> Observation:
    return replace(
        seen, store=replace(seen.store, devices={**seen.store.devices, device_id: device})
    )


def _session(seen: Observation, session: StoredSession | None) -> Observation:
    return replace(
        seen, store=replace(seen.store, sessions={} if session is None else {"s1": session})
    )


def _tablet(seen: Observation, tablet: TabletSide) -> Observation:
    return replace(seen, tablets={"T1": tablet})


_SEEN = kept()
_S1 = _SEEN.store.sessions["s1"]
_T1 = _SEEN.tablets["T1"]
_Q1 = _SEEN.store.devices["Q1"]
_OVER = replace(_S1, status="completed", recording=frozenset())
_RESULT = _SEEN.scores.results["20260206_143052"]


def _result(**changed: object) -> Observation:
    result = replace(_RESULT, **changed)  # type: ignore[arg-type]  # as the cases name them
    return replace(_SEEN, scores=replace(_SEEN.scores, results={"20260206_143052": result}))


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        pytest.param(
            Invariant.LOCKS, _device(_SEEN, "Q2", StoredDevice(_IDLE, "nobody")), id="lock of nobody"
        ),
        pytest.param(
            Invariant.LOCKS, _device(_SEEN, "Q1", replace(_Q1, lock="")), id="lock lost"
        ),
        pytest.param(
            Invariant.LOCKS,
            replace(
                _device(_SEEN, "Q2", StoredDevice(replace(_IDLE, locked_by="t1"), "t1")),
                views=(View("node1", {"Q1": _ROW, "Q2": replace(_IDLE, locked_by="t1")}),),
                tablets={"T1": replace(_T1, shows={"Q1": "t1", "Q2": "t1"})},
            ),
            id="lock never asked for",
        ),
        pytest.param(
            Invariant.LOCKS,
            replace(_SEEN, store=replace(_SEEN.store, held={"t1": frozenset({"Q1", "Q2"})})),
            id="lock counted that is free",
        ),
        pytest.param(
            Invariant.LOCKS,
            _tablet(_SEEN, TabletSide("", _T1.sessions, absent=True)),
            id="lock of a tablet whose grace is over",
        ),
        pytest.param(
            Invariant.SESSIONS,
            replace(
                _SEEN,
                tablets={
                    "T1": replace(
                        _T1,
                        sessions={
                            **_T1.sessions,
                            "s0": Promise(frozenset({"completed"}), frozenset({"Q1"})),
                        },
                    )
                },
            ),
            id="session gone",
        ),
        pytest.param(
            Invariant.SESSIONS, _session(_SEEN, replace(_S1, sid="old")), id="session of an old socket"
        ),
        pytest.param(
            Invariant.SESSIONS,
            _tablet(_SEEN, replace(_T1, settled=False)),
            id="tablet that gets no answer",
        ),
        pytest.param(
            Invariant.RECORDING,
            replace(_SEEN, headsets={**_SEEN.headsets, "Q2": HeadsetSide("h2", recording=True)}),
            id="recording in no session",
        ),
        pytest.param(
            Invariant.RECORDING,
            replace(_SEEN, headsets={**_SEEN.headsets, "Q1": HeadsetSide("h1")}),
            id="not recording in a session that does",
        ),
        pytest.param(
            Invariant.RECORDING,
            _session(_SEEN, replace(_S1, recording=frozenset())),
            id="session that does not know",
        ),
        pytest.param(Invariant.UPLOADS, replace(_SEEN, bucket={}), id="objects gone"),
        pytest.param(
            Invariant.UPLOADS,
            replace(_SEEN, bucket={key: replace(file, size=1) for key, file in _FILES.items()}),
            id="objects of another size",
        ),
        pytest.param(
            Invariant.UPLOADS,
            replace(_SEEN, takes={"Q2": Takes(2, tuple(_FILES.items()))}),
            id="recording never uploaded",
        ),
        pytest.param(
            Invariant.UPLOADS,
            replace(_SEEN, takes={**_SEEN.takes, "Q1": Takes(1, tuple(_FILES.items()))}),
            id="two headsets in one folder",
        ),
        pytest.param(
            Invariant.UPLOADS,
            replace(_SEEN, takes={"Q2": Takes(1, tuple(_FILES.items()), ("gave up",))}),
            id="upload failed",
        ),
        pytest.param(Invariant.SCORES, replace(_SEEN, scores=Scores()), id="not scored"),
        pytest.param(Invariant.SCORES, _result(told=2), id="scored twice"),
        pytest.param(Invariant.SCORES, _result(listed=0), id="in no list"),
        pytest.param(Invariant.SCORES, _result(fingerprint="1:data:"), id="half of it scored"),
        pytest.param(Invariant.SCORES, _result(share={"sessions": 2}), id="sums that do not fit"),
        pytest.param(
            Invariant.SCORES,
            replace(_SEEN, scores=replace(_SEEN.scores, dead=("job",))),
            id="scoring given up",
        ),
        pytest.param(
            Invariant.FLEET,
            replace(_SEEN, views=(View("node1", {"Q1": _ROW, "Q2": Row("h2")}),)),
            id="a node that sees something else",
        ),
        pytest.param(
            Invariant.FLEET, replace(_SEEN, views=(View("node1", {"Q1": _ROW}),)), id="a device missed"
        ),
        pytest.param(
            Invariant.FLEET,
            replace(_SEEN, views=(View("node1", {}, healthy=False),)),
            id="a node that is ill",
        ),
        pytest.param(
            Invariant.FLEET,
            replace(_SEEN, headsets={**_SEEN.headsets, "Q2": HeadsetSide()}),
            id="online and not there",
        ),
        pytest.param(
            Invariant.FLEET,
            _tablet(_SEEN, replace(_T1, shows={})),
            id="a tablet that shows no lock",
        ),
        pytest.param(
            Invariant.ERRORS, replace(_SEEN, faults_logged=("node1: Traceback",)), id="logged"
        ),
    ],
)  # fmt: skip
def test_a_broken_promise_is_found_and_nothing_else(broken: Invariant, seen: Observation) -> None:
    assert judge(seen).broken == {broken}


def test_uploads_on_their_way_are_no_fault_before_the_end() -> None:
    seen = replace(_SEEN, final=False, takes={"Q2": Takes(3, tuple(_FILES.items()))})
    assert judge(replace(seen, scores=Scores())).findings == []


def test_a_lost_answer_leaves_two_outcomes_and_no_third() -> None:
    either = Promise(frozenset({"recording", "paused"}), frozenset({"Q1"}))
    assert judge(_tablet(_SEEN, replace(_T1, sessions={"s1": either}))).findings == []
    paused = Promise(frozenset({"paused"}), frozenset({"Q1"}))
    assert judge(_tablet(_SEEN, replace(_T1, sessions={"s1": paused}))).findings == [
        Finding(Invariant.SESSIONS, "s1", "it is recording; T1 was told paused")
    ]


def test_a_headset_that_left_for_good_has_no_place_to_keep() -> None:
    """Nor does its lock, which was freed."""
    gone = Row("h1")
    seen = replace(
        _device(_SEEN, "Q1", StoredDevice(gone)),
        headsets={**_SEEN.headsets, "Q1": HeadsetSide(absent=True)},
        views=(View("node1", {"Q1": gone, "Q2": _IDLE}),),
    )
    seen = replace(seen, store=replace(seen.store, held={}))
    left = Promise(frozenset({"recording"}), frozenset({"Q1"}), left=frozenset({"Q1"}))
    seen = _tablet(seen, replace(_T1, sessions={"s1": left}, shows={}))
    assert judge(seen).findings == []


def test_a_session_over_holds_nothing() -> None:
    seen = _tablet(
        _session(_SEEN, _OVER),
        replace(_T1, sessions={"s1": Promise(frozenset({"completed"}), frozenset({"Q1"}))}),
    )
    assert judge(seen).broken == {Invariant.LOCKS, Invariant.SESSIONS, Invariant.RECORDING}
