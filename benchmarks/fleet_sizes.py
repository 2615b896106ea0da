"""What one of each thing costs on real servers, and what fleets of 100 to 100,000 need therefore.

Measures connections, telemetry, frames (read, delivered, between servers), uploads, scoring and
what grows with the whole fleet; runs 300 headsets over three servers and compares with what the
model says of them; computes servers, Valkeys, S3 requests and money. What the model assumes is in
benchmarks/scaling/assumptions.toml. Everything shares this machine's cores: CPU time is what
counts, and a machine that does nothing else gives the truest.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import three_nodes
from rich.console import Console
from scaling import ROOT, lists, nodes, picture, recordings, report, sockets
from scaling.assumptions import Assumptions
from scaling.cluster import Shared, leave_nothing_behind
from scaling.lists import WholeFleet
from scaling.model import largest_fleet, needs, nodes_for
from scaling.units import Cost, Units

from load import write_tokens  # isort: skip  # these two: found once scaling is imported
from report import machine  # isort: skip

EXAMPLES = """examples:
  make bench-scaling ARGS=--write          everything, into docs/scaling.md: about 20 minutes
  make bench-scaling ARGS=--quick          a first look: two to three minutes on a free machine
  python benchmarks/fleet_sizes.py --only lists
  python benchmarks/fleet_sizes.py --model-only --write      after a change of assumptions.toml
  python benchmarks/fleet_sizes.py --model-only --headsets 400,2500

What --only leaves out is taken from the last run (benchmarks/results/scaling.json).
The last lines are for machines: "ratio NAME VALUE".
"""
DOCUMENT = ROOT / "docs" / "scaling.md"
PICTURE = ROOT / "docs" / "images" / "scaling.svg"
RESULTS = ROOT / "benchmarks" / "results" / "scaling.json"
ASSUMPTIONS = Path(__file__).resolve().parent / "scaling" / "assumptions.toml"
PARTS = ("sockets", "recordings", "lists", "nodes")
# Load, servers and Valkeys of the largest run are six that want a core at the same time.
_BUSY_PER_CORE = 4
# Fleets that are parts of larger ones.
_CELL = 500
_CURVE = [round(100 * 10 ** (step / 4)) for step in range(13)]


class Kept:
    """What was measured, now or by an earlier run, as JSON."""

    def __init__(self) -> None:
        self.data = _read()

    def put(self, part: str, value: Any) -> None:
        """Keep a part: it survives what fails after it."""
        self.data = _read()
        self.data[part] = value
        self.data.setdefault("machine", {})[part] = machine()
        self.data.setdefault("load_average", {})[part] = os.getloadavg()[1]
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(self.data, indent=1, default=dataclasses.asdict) + "\n")
        self.data = _read()

    def units(self) -> Units:
        """The unit costs.

        Raises:
            ValueError: a part was never measured, or by another version.
        """
        for part in ("sockets", "recordings", "lists"):
            if part not in self.data:
                raise ValueError(f"{part} was not measured yet: run without --only")
        values = {**self.data["sockets"], **self.data["recordings"]}
        values |= whole_fleet_units(self.whole_fleets())
        for field in dataclasses.fields(Units):
            if field.type is Cost and isinstance(values.get(field.name), dict):
                values[field.name] = Cost(**values[field.name])
        try:
            return Units(**values)
        except TypeError as error:
            raise ValueError(f"{RESULTS}: {error}: measure again") from None

    def whole_fleets(self) -> list[WholeFleet]:
        """Rows of the lists' part."""
        return [WholeFleet(**row) for row in self.data.get("lists", [])]

    def about(self, part: str) -> str:
        """Where a part was measured, and whether other programs had a say."""
        load = self.data.get("load_average", {}).get(part, 0.0)
        text = f"{self.data['machine'][part]}; load average {load:.0f} meanwhile."
        if load > _BUSY_PER_CORE * (os.cpu_count() or 1):
            text += " **Other programs disturbed this run: measure it again on a quiet machine.**"
        return text

    def runs(self) -> list[nodes.Run]:
        """Runs on three servers."""
        return [nodes.Run(**row) for row in self.data.get("nodes", [])]


def _read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def whole_fleet_units(rows: list[WholeFleet]) -> dict[str, float]:
    """Unit costs from the largest fleet: what is fixed weighs least there."""
    row = max((one for one in rows if one.lists_per_s), key=lambda one: one.headsets, default=None)
    if row is None:
        raise ValueError("no list went out while lists were measured: measure them again")
    return {
        "list_bytes_per_device": row.list_bytes / row.headsets,
        "list_us_per_kb": row.us_per_kb,
        "scrape_us_per_device": row.scrape_ms * 1000 / row.headsets,
    }


async def measure(options: argparse.Namespace, console: Console, kept: Kept) -> None:
    """The chosen parts, each kept as soon as it is there."""
    quick = options.quick

    def show(line: str) -> None:
        console.print(f"  {line}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="bench-scaling-") as folder:
        tokens = Path(folder) / "tokens"
        write_tokens(tokens)
        async with Shared(Path(folder)) as shared:
            scale = sockets.QUICK if quick else sockets.FULL
            if options.runs:
                scale = dataclasses.replace(scale, runs=options.runs)
            steps: dict[str, Callable[[], Awaitable[Any]]] = {
                "sockets": sockets.SocketCosts(shared, tokens, scale, show).measure,
                "recordings": lambda: recordings.measure(
                    shared, recordings=3 if quick else 8, take_s=10 if quick else 120, show=show
                ),
                "lists": lambda: lists.measure(
                    shared, tokens, lists.QUICK if quick else lists.FULL, show
                ),
                "nodes": lambda: _three_nodes(shared, tokens, console, quick=quick),
            }
            for part in options.only:
                with console.status(f"measuring {part} …"):
                    kept.put(part, await steps[part]())


async def _three_nodes(
    shared: Shared, tokens: Path, console: Console, *, quick: bool
) -> list[nodes.Run]:
    planned = three_nodes.plan([60] if quick else [75, 150, 300], [10] if quick else [10, 40])
    seconds = 3 if quick else 10
    runs, failures = await three_nodes.measure(shared, tokens, planned, seconds, console)
    if not runs:
        raise SystemExit("\n".join(failures))
    return runs


def parts(kept: Kept, units: Units, given: Assumptions, sizes: list[int]) -> dict[str, list[str]]:
    """The document's written parts."""
    found = [needs(units, given, size) for size in sizes]
    cell = needs(units, given, _CELL)
    runs = kept.runs()
    fleets = [
        *report.fleets(found),
        "",
        f"As one fleet, no number of servers carries more than about "
        f"{largest_fleet(units, given):,} headsets of these.",
        "",
        *report.by_cause(found),
        "",
        *report.as_cells(cell, [size for size in sizes if size >= _CELL]),
    ]
    return {
        "unit costs": list(report.units(units, kept.about("sockets"))),
        "three servers": [
            *([kept.about("nodes"), ""] if runs else []),
            *report.three_nodes(runs),
        ],
        "model check": list(report.checks([nodes.check(units, one) for one in runs])),
        "whole fleet": [kept.about("lists"), "", *report.lists(kept.whole_fleets())],
        "fleets": fleets,
        "assumptions": list(report.assumptions(given)),
    }


def curve(units: Units, given: Assumptions) -> str:
    """The picture of the document, up to the largest fleet that any number of servers carries."""
    fits = [size for size in _CURVE if nodes_for(units, given, size) is not None]
    found = [needs(units, given, size) for size in fits]
    return picture.chart(
        "What one fleet needs, as far as one goes",
        "headsets",
        [
            picture.Line("servers", [(n.headsets, n.nodes) for n in found]),
            picture.Line("Valkeys for the bus", [(n.headsets, n.bus_shards) for n in found]),
            picture.Line("s lists are late", [(n.headsets, n.lists.late_s) for n in found]),
            picture.Line("S3 writes a second", [(n.headsets, n.s3_writes_per_s) for n in found]),
        ],
    )


def _several(text: str) -> list[str]:
    given = [part.strip() for part in text.split(",") if part.strip()]
    for part in given:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(PARTS)}")
    return given


def _sizes(text: str) -> list[int]:
    try:
        given = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers with commas, not {text!r}") from None
    if min(given) < 1:
        raise argparse.ArgumentTypeError("each at least 1")
    return sorted(given)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_several, default=list(PARTS), metavar="A,B",
                        help="of: " + ", ".join(PARTS))  # fmt: skip
    parser.add_argument("--headsets", type=_sizes, default=list(report.SIZES), metavar="A,B",
                        help="sizes of fleets to compute (100,1000,10000,100000)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="shorter and smaller runs")
    parser.add_argument("--runs", type=int, default=0, metavar="N",
                        help="runs of each of the sockets' loads (3; with --quick 1)")  # fmt: skip
    parser.add_argument("--model-only", action="store_true", help="measure nothing")
    parser.add_argument("--assumptions", type=Path, default=ASSUMPTIONS, metavar="PATH",
                        help="a file like benchmarks/scaling/assumptions.toml")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/scaling.md's tables")
    given = parser.parse_args()
    if given.runs < 0:
        parser.error("--runs: at least 1")
    return given


def main() -> int:
    """Measure, compute, show, write."""
    options = parse()
    leave_nothing_behind()
    console = Console() if sys.stdout.isatty() else Console(width=150)
    try:
        given = Assumptions.of(tomllib.loads(options.assumptions.read_text()))
    except (OSError, ValueError) as error:  # TOML's errors are ValueErrors
        console.print(f"[red]{options.assumptions}:[/] {error}", highlight=False)
        return 2
    kept = Kept()
    if not options.model_only:
        subprocess.run(["make", "-s", "-C", str(ROOT), "relay-load"], check=True)
        asyncio.run(measure(options, console, kept))
    try:
        units = kept.units()
    except ValueError as error:
        console.print(f"[yellow]no model:[/] {error}", highlight=False)
        return 2
    made = parts(kept, units, given, options.headsets)
    for part, lines in made.items():
        console.print(f"\n[bold]{part}[/]")
        for line in lines:
            print(line)
    if options.write:
        report.write(DOCUMENT, made)
        PICTURE.write_text(curve(units, given))
    for name, value in [*nodes.ratios(kept.runs()), *_model_ratios(kept, units, given)]:
        print(f"ratio {name} {value:.3f}")
    return 0


def _model_ratios(kept: Kept, units: Units, given: Assumptions) -> list[tuple[str, float]]:
    found = [(f"unit_{name}", value) for name, value in dataclasses.asdict(units).items()
             if isinstance(value, float)]  # fmt: skip
    found += [(f"servers_for_{size}", float(needs(units, given, size).nodes))
              for size in report.SIZES]  # fmt: skip
    for run in kept.runs():
        error = nodes.Check.error(nodes.check(units, run).nodes)
        found.append((f"model_error_{run.name}_server_cpu", error))
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
