"""From unit costs to what a fleet needs. Pure: no clock, no network, no files.

A server is one process on one core. Everything is linear in what passes through it, except what
grows with the whole fleet on every server: others' telemetry, and the lists that everybody gets.
"""

from dataclasses import dataclass, field
from math import ceil, inf

from quest_backend.fleet.lists import pause_s
from quest_backend.protocol.recordings import plan
from scaling.assumptions import Assumptions, Fleet, Sizing
from scaling.units import Units

# A list that is older than this misleads whoever looks at it.
_LISTS_TOO_LATE_S = 5.0
_GIB = 2**30
_SECONDS_PER_DAY = 86_400
_MONTH_HOURS = 730
_MOST_NODES = 1 << 20
_CHUNK, _MAX_PARTS = 10 * 2**20, 10_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one server does, each second unless it says otherwise."""

    connections: float = 0  # at a time
    headsets: float = 0  # at a time, of the connections
    telemetry: float = 0
    telemetry_elsewhere: float = 0
    telemetry_shown: float = 0
    frames_in: float = 0
    frames_watched: float = 0
    frames_out: float = 0
    frames_published: float = 0
    frames_received: float = 0
    frame_kb: float = 0
    list_kb: float = 0
    joins: float = 0
    joins_elsewhere: float = 0
    uploads: float = 0
    upload_parts: float = 0


def node_cores(units: Units, traffic: Traffic) -> dict[str, float]:
    """Cores that a server uses, by what for."""
    t, u, kb = traffic, units, traffic.frame_kb
    us = {
        "idle": u.node_idle_us_per_s,
        "connections": t.connections * u.connection_us_per_s,
        "telemetry of its headsets": t.telemetry * u.telemetry_us,
        "telemetry from elsewhere": t.telemetry_elsewhere * u.telemetry_elsewhere_us,
        "telemetry to dashboards": t.telemetry_shown * u.telemetry_shown_us,
        "frames in": t.frames_in * u.frame_in.us(kb) + t.frames_watched * u.frame_check.us(kb),
        "frames out": t.frames_out * u.frame_out.us(kb),
        "frames between servers": t.frames_published * u.frame_publish.us(kb)
        + t.frames_received * u.frame_receive.us(kb),
        "lists": t.list_kb * u.list_us_per_kb,
        "changes": t.joins * u.join_us + t.joins_elsewhere * u.join_elsewhere_us,
        "uploads": t.uploads * u.upload_us + t.upload_parts * u.presign_us_per_part,
    }
    return {name: value / 1e6 for name, value in us.items()}


def upload_parts(fleet: Fleet) -> int:
    """Parts of both files of a recording, as the server cuts them."""
    sizes = (fleet.take_video_gib, fleet.take_data_gib)
    return sum(plan(ceil(size * _GIB), _CHUNK, _MAX_PARTS).parts for size in sizes if size > 0)


@dataclass(frozen=True, slots=True)
class Lists:
    """The three lists that everybody gets on a change; ``late_s`` is how late at most."""

    bytes: float
    late_s: float
    every_s: float
    kb_per_s: float  # that a server sends

    @property
    def client_mbit(self) -> float:
        """Megabits a second that each client gets of them."""
        return self.bytes * 8 / 1e6 / self.every_s


def lists(units: Units, fleet: Fleet, headsets: float, nodes: int) -> Lists:
    """How large they are, and how often a server with its share of clients may send them."""
    size = units.list_bytes_per_device * headsets
    here = clients(fleet, headsets) / nodes
    changes = headsets * fleet.changes_per_headset_hour / 3600
    late_s = pause_s(size, here)
    every_s = max(late_s, 1 / changes if changes else inf)
    return Lists(size, late_s, every_s, size * here / every_s / 1000)


def clients(fleet: Fleet, headsets: float) -> float:
    """Headsets, tablets and dashboards."""
    return headsets * (1 + 1 / fleet.headsets_per_tablet + 1 / fleet.headsets_per_dashboard)


def share(units: Units, fleet: Fleet, headsets: float, nodes: int) -> Traffic:
    """What one of ``nodes`` servers does, clients being spread evenly and at random."""
    here = headsets / nodes
    elsewhere = (nodes - 1) / nodes
    telemetry = headsets * fleet.telemetry_hz
    watched = here * fleet.watched_share * fleet.fps
    deliveries = watched * fleet.viewers_per_watched
    changes = headsets * fleet.changes_per_headset_hour / 3600
    takes = here * fleet.takes_per_headset_hour / 3600
    dashboards = headsets / fleet.headsets_per_dashboard / nodes
    return Traffic(
        connections=clients(fleet, headsets) / nodes,
        headsets=here,
        telemetry=telemetry / nodes,
        telemetry_elsewhere=telemetry * elsewhere,
        telemetry_shown=telemetry * dashboards,
        frames_in=here * fleet.fps,
        frames_watched=watched,
        frames_out=deliveries,
        # A frame is published once, and taken by each server with a viewer: as good as each viewer.
        frames_published=watched * elsewhere,
        frames_received=deliveries * elsewhere,
        frame_kb=fleet.frame_kb,
        list_kb=lists(units, fleet, headsets, nodes).kb_per_s,
        joins=changes / nodes,
        joins_elsewhere=changes * elsewhere,
        uploads=2 * takes,
        upload_parts=takes * upload_parts(fleet),
    )


def network_bytes(units: Units, traffic: Traffic) -> tuple[float, float]:
    """Bytes a second into and out of a server."""
    frame = traffic.frame_kb * 1000
    into = (traffic.frames_in + traffic.frames_received) * frame
    into += (traffic.telemetry + traffic.telemetry_elsewhere) * units.telemetry_bus_bytes
    out = (traffic.frames_out + traffic.frames_published) * frame
    out += traffic.telemetry * (units.telemetry_state_bytes + units.telemetry_bus_bytes)
    out += traffic.telemetry_shown * units.telemetry_shown_bytes + traffic.list_kb * 1000
    return into, out


@dataclass(frozen=True, slots=True)
class Bus:
    """What the Valkeys of the bus carry together."""

    cores: float
    bytes_in: float
    bytes_out: float


def bus(units: Units, traffic: Traffic, nodes: int) -> Bus:
    """Frames and telemetry between ``nodes`` servers that each have this traffic."""
    if nodes == 1:
        return Bus(0, 0, 0)
    frame = traffic.frame_kb * 1000 + units.bus_frame_overhead_bytes
    published, received = traffic.frames_published * nodes, traffic.frames_received * nodes
    sent = traffic.telemetry * nodes * units.telemetry_bus_bytes
    taken = traffic.telemetry_elsewhere * nodes
    # Half of a frame's cost is taking it in, half is handing it to one server.
    frames_us = (published + received) / 2 * units.bus_frame.us(traffic.frame_kb)
    return Bus(
        (frames_us + taken * units.telemetry_bus_us) / 1e6,
        published * frame + sent,
        received * frame + taken * units.telemetry_bus_bytes,
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What a fleet of ``headsets`` needs. ``broken`` says what does not fit, worst first."""

    headsets: int
    nodes: int
    by_cause: dict[str, float]
    node_share: float
    memory_mib: float
    network_in: float
    network_out: float
    state_share: float
    state_commands: float
    bus: Bus
    bus_shards: int
    lists: Lists
    dashboard_messages_per_s: float
    s3_writes_per_s: float
    recordings_per_day: float
    s3_writes_per_month: float
    s3_reads_per_month: float
    stored_gib_per_month: float
    qa_workers: int
    dollars: dict[str, float]
    broken: list[str] = field(default_factory=list)


def _full(units: Units, given: Assumptions, headsets: float, nodes: int) -> float:
    """How full the fullest of a server's core and network are, 1 being what ``sizing`` allows."""
    traffic, sizing = share(units, given.fleet, headsets, nodes), given.sizing
    cores = sum(node_cores(units, traffic).values()) / sizing.core_share
    network = max(network_bytes(units, traffic)) / _network(sizing)
    return max(cores, network)


def _network(sizing: Sizing) -> float:
    return sizing.network_gbit * 1e9 / 8 * sizing.network_share


def nodes_for(units: Units, given: Assumptions, headsets: float) -> int | None:
    """The fewest servers that carry so many headsets; None when no number does."""
    most = 1
    while _full(units, given, headsets, most) > 1:
        most *= 2
        if most > _MOST_NODES:
            return None
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (
            (middle, most) if _full(units, given, headsets, middle) > 1 else (least, middle)
        )
    return most


def largest_fleet(units: Units, given: Assumptions) -> int:
    """Headsets from which on no number of servers suffices as one fleet."""
    good, bad = 1, 2
    while nodes_for(units, given, bad) is not None and bad < 10_000_000:
        good, bad = bad, 2 * bad
    while bad - good > good / 50:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if nodes_for(units, given, middle) else (good, middle)
    return good


def needs(units: Units, given: Assumptions, headsets: int) -> Needs:
    """What a fleet needs. Where it does not fit, for as many servers as would carry the frames."""
    fleet, sizing = given.fleet, given.sizing
    found = nodes_for(units, given, headsets)
    nodes = found or _nodes_for_frames(units, given, headsets)
    traffic = share(units, fleet, headsets, nodes)
    causes = node_cores(units, traffic)
    into, out = network_bytes(units, traffic)
    between = bus(units, traffic, nodes)
    telemetry = headsets * fleet.telemetry_hz
    changes = headsets * fleet.changes_per_headset_hour / 3600
    takes_per_s = headsets * fleet.takes_per_headset_hour / 3600
    takes = takes_per_s * 3600 * fleet.hours_per_month
    parts = upload_parts(fleet)
    writes = 2 * units.upload_requests + parts * units.upload_requests_per_part
    shards = ceil(max(between.cores / sizing.core_share, between.bytes_out / _network(sizing)))
    state_us = telemetry * units.telemetry_state_us + changes * units.join_state_us
    stored = takes * (fleet.take_video_gib + fleet.take_data_gib)
    workers = ceil(takes_per_s * units.qa_cpu_s / sizing.core_share) if takes_per_s else 0
    result = Needs(
        headsets=headsets,
        nodes=nodes,
        by_cause=causes,
        node_share=sum(causes.values()),
        memory_mib=_node_mib(units, traffic),
        network_in=into,
        network_out=out,
        state_share=state_us / 1e6,
        state_commands=telemetry * units.telemetry_state_commands
        + 2 * takes_per_s * units.upload_state_commands,
        bus=between,
        bus_shards=shards if nodes > 1 else 0,
        lists=lists(units, fleet, headsets, nodes),
        dashboard_messages_per_s=telemetry,
        s3_writes_per_s=takes_per_s * writes,
        recordings_per_day=takes * 12 / 365,
        s3_writes_per_month=takes * writes,
        s3_reads_per_month=takes * units.qa_get_requests,
        stored_gib_per_month=stored,
        qa_workers=workers,
        dollars=_dollars(given, nodes + workers, 1 + (shards if nodes > 1 else 0),
                         (takes * writes, takes * units.qa_get_requests), stored),
    )  # fmt: skip
    result.broken.extend(_broken(given, result, fits=found is not None))
    return result


def _nodes_for_frames(units: Units, given: Assumptions, headsets: int) -> int:
    traffic = share(units, given.fleet, headsets, _MOST_NODES)
    causes = node_cores(units, traffic)
    frames = sum(value for name, value in causes.items() if name.startswith("frames"))
    return max(1, ceil(frames * _MOST_NODES / given.sizing.core_share))


def _node_mib(units: Units, traffic: Traffic) -> float:
    kib = traffic.connections * units.connection_kib + traffic.headsets * units.headset_kib
    viewers = traffic.connections - traffic.headsets
    return units.node_mib + (kib + viewers * units.viewer_kib) / 1024


def _dollars(
    given: Assumptions, cores: int, valkeys: int, requests: tuple[float, float], stored: float
) -> dict[str, float]:
    prices = given.prices
    return {
        "servers and workers": cores * prices.core_hour * _MONTH_HOURS,
        "Valkey": valkeys * prices.valkey_hour * _MONTH_HOURS,
        "S3 requests": requests[0] / 1000 * prices.per_1000_writes
        + requests[1] / 1000 * prices.per_1000_reads,
        "storage, standard": stored * prices.gib_month_standard,
        "storage, intelligent tiering": stored * prices.gib_month_intelligent,
        "storage, deep archive": stored * prices.gib_month_deep_archive,
    }


def _broken(given: Assumptions, needs: Needs, *, fits: bool) -> list[str]:
    """What is beyond its bounds."""
    found, sizing = [], given.sizing
    if not fits:
        worst = max(needs.by_cause, key=lambda name: needs.by_cause[name])
        found.append(f"no number of servers suffices: each needs {needs.node_share:.1f} cores, "
                     f"most of it for {worst}")  # fmt: skip
    if needs.state_share > sizing.core_share:
        found.append(f"the state's Valkey needs {needs.state_share:.1f} cores and has one")
    if needs.lists.late_s > _LISTS_TOO_LATE_S:
        found.append(f"lists of {needs.lists.bytes / 1e6:.1f} MB come up to "
                     f"{needs.lists.late_s:.0f} s late")  # fmt: skip
    if needs.dashboard_messages_per_s > sizing.dashboard_messages_per_s:
        found.append(
            f"every dashboard gets {needs.dashboard_messages_per_s:,.0f} messages a second"
        )
    if needs.s3_writes_per_s > sizing.s3_writes_per_s_and_prefix:
        found.append(f"{needs.s3_writes_per_s:,.0f} writes a second go to one prefix of S3")
    if needs.recordings_per_day > _SECONDS_PER_DAY:
        found.append(
            f"{needs.recordings_per_day:,.0f} recordings a day go to one bucket, whose keys have "
            f"{_SECONDS_PER_DAY:,}: one for each second"
        )
    return found
