"""What must be true once a fault is over. Pure: an observation in, what is wrong out."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from chaos.observation import Observation, Row, StoredDevice, StoredFile, TabletSide
from quest_backend.protocol.recordings import FILE_NAMES, FileType
from quest_backend.state.qa import fingerprint

_OPEN = frozenset({"pending", "recording", "paused"})


class Invariant(StrEnum):
    """What is promised."""

    LOCKS = "locks"
    SESSIONS = "sessions"
    RECORDING = "recording"
    UPLOADS = "uploads"
    SCORES = "scores"
    FLEET = "fleet"
    ERRORS = "errors"


MEANING = {
    Invariant.LOCKS: "no lock is held by nobody, and none is lost",
    Invariant.SESSIONS: "no session is lost, or in a state that nobody asked for",
    Invariant.RECORDING: "headsets record exactly when their session says so",
    Invariant.UPLOADS: "every recording is in the bucket, whole",
    Invariant.SCORES: "every recording is scored, once",
    Invariant.FLEET: "all servers and their clients see the same fleet",
    Invariant.ERRORS: "no server logs a fault of its own",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as promised."""

    invariant: Invariant
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.subject}: {self.what}"


@dataclass(slots=True)
class Verdict:
    """What is wrong, and how many statements were looked at."""

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[Invariant] = field(default_factory=Counter)

    @property
    def broken(self) -> set[Invariant]:
        """Which invariants do not hold."""
        return {finding.invariant for finding in self.findings}


# Subject, whether it is so, and what to say when it is not.
Statement = tuple[str, bool, str]


def judge(seen: Observation) -> Verdict:
    """Look at every invariant."""
    verdict = Verdict()
    for invariant, state in _STATEMENTS.items():
        for subject, holds, what in state(seen):
            verdict.checked[invariant] += 1
            if not holds:
                verdict.findings.append(Finding(invariant, subject, what))
    return verdict


def _locks(seen: Observation) -> Iterator[Statement]:
    store = seen.store
    holders = {tablet.sid: (identity, tablet) for identity, tablet in store.tablets.items()}
    for device_id, device in store.devices.items():
        noted = device.row.locked_by
        yield device_id, noted == device.lock, f"noted for {noted or 'nobody'}, locked otherwise"
        if device.lock:
            identity, stored = holders.get(device.lock, ("", None))
            yield device_id, stored is not None, f"its lock is held by {device.lock}: no tablet"
            if stored is None:
                continue
            side = seen.tablets.get(identity, TabletSide())
            # A tablet that is away keeps its locks for its grace, and no longer.
            alive = stored.in_grace if side.absent else side.sid == device.lock
            yield device_id, alive, f"its lock is held by {identity}, which is not there any more"
            by_hand = side.locked | side.perhaps
            wanted = device_id in by_hand or device_id in _members(seen, identity)
            yield device_id, wanted, f"{identity} holds it, and never asked, or gave it back"
    for sid, held in store.held.items():
        for device_id in held:
            lock = store.devices[device_id].lock if device_id in store.devices else ""
            yield device_id, lock == sid, f"{sid} counts it as held, the lock says {lock or 'free'}"
    for identity, side in seen.tablets.items():
        if side.absent:
            continue
        # One that was locked by hand, and is in no session, is free once its headset was away.
        for device_id in _members(seen, identity):
            stored_device = store.devices.get(device_id)
            if stored_device is None or not _kept(seen, device_id, stored_device):
                continue
            held_by = stored_device.lock
            yield (
                device_id,
                held_by == side.sid,
                f"{identity} lost its lock to {held_by or 'nobody'}",
            )


def _kept(seen: Observation, device_id: str, device: StoredDevice) -> bool:
    """Whether the headset is here, or missed for so short a time that it keeps its place."""
    return device.in_grace or not seen.headsets[device_id].absent


def _members(seen: Observation, identity: str) -> frozenset[str]:
    """Devices of the tablet's open sessions that are still in them."""
    return frozenset(
        device_id
        for session_id, session in seen.store.sessions.items()
        if session.identity == identity and session.status in _OPEN
        for device_id in session.device_ids
        if seen.store.devices[device_id].session_id == session_id
    )


def _sessions(seen: Observation) -> Iterator[Statement]:
    stored = seen.store.sessions
    for identity, side in seen.tablets.items():
        yield identity, side.settled, "it gets no answer"
        for session_id, promise in side.sessions.items():
            session = stored.get(session_id)
            yield session_id, session is not None, f"it is gone; {identity} was promised it"
            if session is None:
                continue
            wanted = "/".join(sorted(promise.statuses))
            yield (
                session_id,
                session.status in promise.statuses,
                (f"it is {session.status}; {identity} was told {wanted}"),
            )
            yield session_id, session.identity == identity, f"it belongs to {session.identity}"
            members = promise.device_ids
            yield session_id, session.device_ids == members, "its headsets are not those promised"
            if session.status not in _OPEN:
                continue
            if not side.absent:
                yield session_id, session.sid == side.sid, f"it is with {session.sid}: no tablet"
            for device_id in members - promise.left:
                device = seen.store.devices[device_id]
                if _kept(seen, device_id, device):
                    there = device.session_id == session_id
                    yield session_id, there, f"{device_id} lost its place in it"
    for device_id, device in seen.store.devices.items():
        if device.session_id:
            session = stored.get(device.session_id)
            is_open = session is None or session.status in _OPEN
            yield device_id, is_open, f"it is still in {device.session_id}, which is over"


def _recording(seen: Observation) -> Iterator[Statement]:
    for device_id, side in seen.headsets.items():
        device = seen.store.devices.get(device_id)
        if device is None or side.absent:
            continue
        session = seen.store.sessions.get(device.session_id)
        wanted = session is not None and session.status == "recording"
        if session is None and device.session_id:
            continue  # a session that is lost says nothing
        says = f"its session is {session.status if session else 'none'}"
        yield device_id, side.recording == wanted, f"it records: {side.recording}; {says}"
        known = device.row.recording
        yield device_id, known == wanted, f"Valkey says it records: {known}; {says}"
        if session is not None:
            noted = device_id in session.recording
            yield device_id, noted == wanted, f"its session says it records: {noted}; {says}"


def _uploads(seen: Observation) -> Iterator[Statement]:
    owners: dict[str, str] = {}
    for device_id, takes in seen.takes.items():
        for key, file in takes.files:
            other = owners.setdefault(key, device_id)
            yield key, other == device_id, f"{other} and {device_id} were both given it"
            there = seen.bucket.get(key)
            yield key, there is not None, f"{device_id} was told that it is stored; it is not there"
            if there is not None:
                yield key, there == file, f"the bucket has {there}, {device_id} sent {file}"
        yield device_id, not takes.failed, f"uploads failed: {', '.join(takes.failed)}"
        if seen.final:
            files = len(takes.files)
            whole = files == len(FILE_NAMES) * takes.stopped
            yield device_id, whole, f"{takes.stopped} recordings, {files} files stored"


def _scores(seen: Observation) -> Iterator[Statement]:
    scores = seen.scores
    for folder, files in sorted(_recordings(seen).items()):
        result = scores.results.get(folder)
        if result is None:
            yield folder, not seen.final, "it is not scored"
            continue
        wanted = fingerprint(files[FileType.DATA].etag, files[FileType.VIDEO].etag)
        if seen.final:
            current = result.fingerprint == wanted
            yield folder, current, f"{result.fingerprint} was scored, stored is {wanted}"
        # A result of the first file alone may have come before.
        yield folder, result.told == 1, f"it was scored {result.told} times"
        yield folder, result.listed == 1, f"it is in {result.listed} lists"
    sums: Counter[str] = Counter()
    for result in scores.results.values():
        sums.update(result.share)
    for name in sorted(set(sums) | set(scores.totals)):
        total = scores.totals.get(name, 0)
        yield (
            name,
            total == sums[name],
            f"the running sum is {total}, the results make {sums[name]}",
        )
    for job in scores.dead:
        yield job, False, "its scoring was given up"


def _recordings(seen: Observation) -> dict[str, dict[FileType, StoredFile]]:
    """Folders both of whose files their headsets were told are stored, and what was sent."""
    folders: dict[str, dict[FileType, StoredFile]] = {}
    kinds = {name: file_type for file_type, name in FILE_NAMES.items()}
    for takes in seen.takes.values():
        for key, file in takes.files:
            _, folder, name = key.split("/")
            folders.setdefault(folder, {})[kinds[name]] = file
    return {folder: files for folder, files in folders.items() if len(files) == len(kinds)}


def _fleet(seen: Observation) -> Iterator[Statement]:
    stored = seen.store.devices
    for device_id, side in seen.headsets.items():
        device = stored.get(device_id)
        row = device.row if device is not None else Row()
        here = row.online and row.sid == side.sid if side.sid else not row.online
        yield device_id, here, f"it is on socket {side.sid or 'none'}; Valkey has {row}"
    for view in seen.views:
        yield view.name, view.healthy, "it is not healthy"
        if not view.healthy:
            continue
        missing = sorted(set(stored) ^ set(view.rows))
        yield view.name, not missing, f"it does not agree on which devices there are: {missing}"
        for device_id in sorted(set(stored) & set(view.rows)):
            truth, row = stored[device_id].row, view.rows[device_id]
            yield device_id, row == truth, f"{view.name} shows {row}; Valkey has {truth}"
    for identity, tablet in seen.tablets.items():
        if not tablet.sid:
            continue
        for device_id, device in stored.items():
            shown, holder = tablet.shows.get(device_id, ""), device.row.locked_by
            yield device_id, shown == holder, f"{identity} shows its lock as {shown or 'free'}"


def _errors(seen: Observation) -> Iterator[Statement]:
    yield "logs", True, ""
    for line in seen.faults_logged:
        yield "logs", False, line


_STATEMENTS: dict[Invariant, Callable[[Observation], Iterator[Statement]]] = {
    Invariant.LOCKS: _locks,
    Invariant.SESSIONS: _sessions,
    Invariant.RECORDING: _recording,
    Invariant.UPLOADS: _uploads,
    Invariant.SCORES: _scores,
    Invariant.FLEET: _fleet,
    Invariant.ERRORS: _errors,
}
