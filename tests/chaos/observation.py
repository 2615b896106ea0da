"""What is true at one moment, as each side says it. Values only: ``invariants`` judges them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeadsetSide:
    """A headset as it sees itself. ``sid`` is '' while it is not connected."""

    sid: str = ""
    recording: bool = False
    absent: bool = False  # on purpose, and longer than its grace


@dataclass(frozen=True, slots=True)
class Promise:
    """What the server has told a tablet of a session. More than one status: an answer was lost.

    ``left`` are headsets that stayed away for longer than their grace, or may have.
    """

    statuses: frozenset[str]
    device_ids: frozenset[str]
    left: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TabletSide:
    """A tablet as it sees itself: what it was promised, and the locks it shows its operator."""

    sid: str = ""
    sessions: Mapping[str, Promise] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()  # by hand, beside what its sessions hold
    perhaps: frozenset[str] = frozenset()  # the same, if nobody was missed for a grace meanwhile
    shows: Mapping[str, str] = field(default_factory=dict)
    absent: bool = False
    settled: bool = True  # nothing is unclear to it any more


@dataclass(frozen=True, slots=True)
class Row:
    """One device as a node or a dashboard shows it."""

    sid: str = ""
    online: bool = False
    recording: bool = False
    locked_by: str = ""


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """One device in Valkey. ``lock`` is the lock's own key, ``row`` the device's hash."""

    row: Row
    lock: str = ""
    session_id: str = ""
    in_grace: bool = False


@dataclass(frozen=True, slots=True)
class StoredTablet:
    """A tablet in Valkey."""

    sid: str
    in_grace: bool = False


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session in Valkey; ``recording`` are the members that it says record."""

    status: str
    identity: str
    sid: str
    device_ids: frozenset[str]
    recording: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Store:
    """Valkey: the truth of the fleet."""

    devices: Mapping[str, StoredDevice] = field(default_factory=dict)
    tablets: Mapping[str, StoredTablet] = field(default_factory=dict)
    sessions: Mapping[str, StoredSession] = field(default_factory=dict)
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by socket id


@dataclass(frozen=True, slots=True)
class View:
    """The fleet as a node, or a dashboard at a node, shows it."""

    name: str
    rows: Mapping[str, Row]
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object: its size in bytes, and its version."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Takes:
    """What a headset has recorded, and the files that it was told are stored, by key."""

    stopped: int = 0
    files: tuple[tuple[str, StoredFile], ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A recording's QA result in Valkey: of which files, how often told, in how many lists."""

    fingerprint: str
    told: int = 1
    listed: int = 1
    share: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scores:
    """All results, and the running sums over them."""

    results: Mapping[str, Result] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    dead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that is looked at. ``final``: nothing is on its way any more."""

    headsets: Mapping[str, HeadsetSide]
    tablets: Mapping[str, TabletSide]
    store: Store
    views: tuple[View, ...]
    takes: Mapping[str, Takes] = field(default_factory=dict)
    bucket: Mapping[str, StoredFile] = field(default_factory=dict)
    scores: Scores = field(default_factory=Scores)
    faults_logged: tuple[str, ...] = ()
    final: bool = False
