"""The measured and computed parts of docs/scaling.md."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from scaling import nodes
from scaling.assumptions import Assumptions
from scaling.lists import WholeFleet
from scaling.model import Needs
from scaling.units import Cost, Units

SIZES = (100, 1_000, 10_000, 100_000)
_UNITS: tuple[tuple[str, str, int], ...] = (
    ("node_idle_us_per_s", "a server that does nothing, CPU µs a second", 0),
    ("node_mib", "its memory, MiB", 0),
    ("connection_us_per_s", "a connection that only answers pings, CPU µs a second", 1),
    ("connection_kib", "its memory, KiB", 1),
    ("join_us", "a headset that connects and identifies, CPU µs once, with the lists it causes", 0),
    ("join_elsewhere_us", "the same on each other server", 0),
    ("join_state_us", "the same in Valkey", 0),
    ("headset_kib", "memory of a connected headset, KiB", 1),
    ("viewer_kib", "memory of a viewer whose frames flow, KiB", 1),
    ("telemetry_us", "a telemetry message on its headset's server, CPU µs", 0),
    ("telemetry_shown_us", "its delivery to one dashboard", 1),
    ("telemetry_elsewhere_us", "the same message on each other server", 1),
    ("telemetry_state_us", "in Valkey, written", 1),
    ("telemetry_state_commands", "Valkey commands for it", 2),
    ("telemetry_state_bytes", "bytes to Valkey for it", 0),
    ("telemetry_bus_us", "in Valkey, on the bus", 1),
    ("telemetry_bus_bytes", "bytes of it on the bus", 0),
    ("list_bytes_per_device", "bytes of the three lists per online headset", 0),
    ("list_us_per_kb", "sending lists, CPU µs per kB", 2),
    ("scrape_us_per_device", "`/metrics`, µs per headset", 1),
    ("upload_us", "a file uploaded in parts straight to S3, CPU µs without its URLs", 0),
    ("presign_us_per_part", "a presigned URL, CPU µs", 2),
    ("upload_requests", "S3 writes for a file (PUT, POST, LIST), parts apart", 1),
    ("upload_requests_per_part", "the same for each part of 10 MiB", 2),
    ("upload_state_commands", "Valkey commands for a file", 0),
    ("qa_cpu_s", "scoring a recording, CPU seconds of a worker", 2),
    ("qa_get_requests", "S3 reads for it", 1),
)
_COSTS = (
    ("frame_in", "read, nobody watches"),
    ("frame_check", "more, when somebody does"),
    ("frame_out", "each delivery"),
    ("frame_publish", "more, to be published"),
    ("frame_receive", "taken on another server"),
    ("bus_frame", "in Valkey"),
)


def marks(part: str) -> tuple[str, str]:
    """What stands before and after a part of the document."""
    return (
        f"<!-- {part}: written by make bench-scaling ARGS=--write -->",
        f"<!-- end of {part} -->",
    )


def write(path: Path, parts: Mapping[str, Iterable[str]]) -> None:
    """Replace parts of the document.

    Raises:
        ValueError: it has no such part.
    """
    text = path.read_text()
    for part, lines in parts.items():
        start, end = marks(part)
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{path} has no part between {start!r} and {end!r}")
        text = before + "\n".join([start, "", *lines, "", end]) + after
    path.write_text(text)


def table(headings: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """In Markdown: the first column to the left, the others to the right."""
    yield "| " + " | ".join(headings) + " |"
    yield "|---|" + "---:|" * (len(headings) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def units(measured: Units, about: str) -> Iterator[str]:
    """What one of each thing costs."""
    yield about
    yield ""
    rows = ([text, f"{getattr(measured, name):,.{digits}f}"] for name, text, digits in _UNITS)
    yield from table(["what", "cost"], rows)
    yield ""

    def cells(cost: Cost) -> list[str]:
        return [f"{cost.fixed_us:.1f}", f"{cost.us_per_kb:.2f}", f"{cost.us(40):.0f}"]

    frames = ([text, *cells(getattr(measured, name))] for name, text in _COSTS)
    yield from table(["a frame, CPU µs", "fixed", "per kB", "of 40 kB"], frames)


def three_nodes(runs: list[nodes.Run]) -> Iterator[str]:
    """Every run."""
    headings = [heading for heading, _ in nodes.COLUMNS]
    yield from table(headings, ([cell(one) for _, cell in nodes.COLUMNS] for one in runs))
    for name, value in nodes.ratios(runs):
        if name.endswith("cross_to_local"):
            yield ""
            yield f"`{name}` {value:.2f}"


def checks(found: list[nodes.Check]) -> Iterator[str]:
    """Predicted against measured."""

    def cells(pair: tuple[float, float], scale: float, digits: int) -> list[str]:
        predicted, measured = (f"{value / scale:.{digits}f}" for value in pair)
        error = f"{nodes.Check.error(pair):+.0%}" if pair[1] / scale > 0.05 else "-"
        return [predicted, measured, error]

    yield from table(
        ["run", "server cores: model", "measured", "error", "Valkey cores: model", "measured",
         "error", "bus MB/s: model", "measured", "error"],
        (
            [f"`{one.name}`", *cells(one.nodes, 1, 2), *cells(one.valkeys, 1, 2),
             *cells(one.bus_out, 1e6, 0)]
            for one in found
        ),
    )  # fmt: skip


def lists(rows: list[WholeFleet]) -> Iterator[str]:
    """What the whole fleet costs one server."""
    yield from table(
        ["headsets, all on one server", "three lists, kB", "lists a second to each", "cores for it",
         "longest wait of a request, ms", "`/metrics`, ms", "`/api/devices`, ms", "RSS MiB"],
        (
            [f"{row.headsets:,}", f"{row.list_bytes / 1e3:,.0f}", f"{row.lists_per_s:.2f}",
             f"{row.cores:.2f}", f"{row.longest_ms:,.0f}", f"{row.scrape_ms:,.0f}",
             f"{row.devices_ms:,.0f}", f"{row.rss_mib:,.0f}"]
            for row in rows
        ),
    )  # fmt: skip


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def fleets(found: list[Needs]) -> Iterator[str]:
    """What each fleet needs: one column each."""

    def row(name: str, values: Iterable[str]) -> list[str]:
        return [name, *values]

    def dollars(name: str) -> list[str]:
        return row(f"{name}, $ a month", (f"{one.dollars[name]:,.0f}" for one in found))

    megabit = 8 / 1e6
    rows = [
        row("servers (processes, a core each)", (f"{one.nodes:,}" for one in found)),
        row("of a core used by each", (f"{one.node_share:.0%}" for one in found)),
        row("memory of each, MiB", (f"{one.memory_mib:,.0f}" for one in found)),
        row("network of each, Mbit/s in / out",
            (f"{one.network_in * megabit:,.0f} / {one.network_out * megabit:,.0f}"
             for one in found)),
        row("the state's Valkey, of its core", (f"{one.state_share:.1%}" for one in found)),
        row("its commands a second", (_amount(one.state_commands) for one in found)),
        row("bus, MB/s in / out",
            (f"{one.bus.bytes_in / 1e6:,.0f} / {one.bus.bytes_out / 1e6:,.0f}" for one in found)),
        row("Valkeys for the bus (`BUS_URLS`)", (f"{one.bus_shards:,}" for one in found)),
        row("three lists, kB", (f"{one.lists.bytes / 1e3:,.0f}" for one in found)),
        row("seconds that lists are late at most", (f"{one.lists.late_s:,.1f}" for one in found)),
        row("lists to each client, Mbit/s", (f"{one.lists.client_mbit:.2f}" for one in found)),
        row("telemetry messages to each dashboard, a second",
            (_amount(one.dashboard_messages_per_s) for one in found)),
        row("S3 writes a second", (_amount(one.s3_writes_per_s) for one in found)),
        row("recordings a day", (_amount(one.recordings_per_day) for one in found)),
        row("S3 writes, million a month",
            (f"{one.s3_writes_per_month / 1e6:,.1f}" for one in found)),
        row("recorded, TiB a month",
            (f"{one.stored_gib_per_month / 1024:,.0f}" for one in found)),
        row("QA workers (a core each)", (f"{one.qa_workers:,}" for one in found)),
        *(dollars(name) for name in found[0].dollars),
    ]  # fmt: skip
    yield from table(["headsets", *(f"{one.headsets:,}" for one in found)], rows)
    for one in found:
        for problem in one.broken:
            yield ""
            yield f"- **{one.headsets:,} headsets as one fleet:** {problem}."


def by_cause(found: list[Needs]) -> Iterator[str]:
    """What a server's core goes to."""
    yield from table(
        ["of a core, for", *(f"{one.headsets:,}" for one in found)],
        ([name, *(f"{one.by_cause[name]:.1%}" for one in found)] for name in found[0].by_cause),
    )


def as_cells(cell: Needs, totals: Iterable[int]) -> Iterator[str]:
    """Large fleets made of smaller ones that know nothing of each other."""
    yield from table(
        ["headsets", f"fleets of {cell.headsets:,}", "servers", "Valkeys", "QA workers",
         "$ a month without storage"],
        (
            [f"{total:,}", f"{count:,}", f"{count * cell.nodes:,}",
             f"{count * (1 + cell.bus_shards):,}", f"{count * cell.qa_workers:,}",
             f"{count * sum(v for k, v in cell.dollars.items() if 'storage' not in k):,.0f}"]
            for total in totals
            if (count := total // cell.headsets)
        ),
    )  # fmt: skip


def assumptions(given: Assumptions) -> Iterator[str]:
    """All that was not measured."""
    rows = [
        [f"`{table_}.{name}`", f"{getattr(group, name):g}"]
        for table_, group in (("fleet", given.fleet), ("sizing", given.sizing),
                              ("prices", given.prices))
        for name in group.__dataclass_fields__
    ]  # fmt: skip
    yield from table(["assumption", "value"], rows)
