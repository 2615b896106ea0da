"""Measures the relay of this server beside three others that do the same job, one core each."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import report
import scenarios
import servers
from load import Load, LoadFailed, write_tokens
from load import run as run_load
from report import Row
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

EXAMPLES = """examples:
  make bench-relay                                    everything: about an hour
  python benchmarks/relay/run.py --quick              everything once, shorter: about ten minutes
  python benchmarks/relay/run.py --only frames --servers ours,node
  python benchmarks/relay/run.py --only capacity,latency --runs 1
  python benchmarks/relay/run.py --server-bin ../other/.venv/bin/quest-backend --only telemetry
  python benchmarks/relay/run.py --write              and put the tables into docs/performance.md

The last lines are for machines: "ratio NAME VALUE". Each figure is the median of all runs.
What is measured, and why so: docs/performance.md.
"""
# A run is repeated when other programs took more than this share of the server's core.
_OTHERS = 0.05
_TRIES = 3
ONLY = ("frames", "telemetry", "idle", "storm", "slow", "capacity", "latency")
DOCUMENT = servers.ROOT / "docs" / "performance.md"
RESULTS = servers.ROOT / "benchmarks" / "results" / "relay.json"


@dataclass(slots=True)
class Bench:
    """One invocation: its options, and what came out so far."""

    options: argparse.Namespace
    tokens: Path
    say: Console
    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    disturbed: int = 0

    def row(self, name: str, title: str, columns: tuple[scenarios.Column, ...]) -> Row:
        """The row of a case, made when it is first asked for."""
        return self.rows.setdefault(name, Row(name, title, columns))

    def once(self, server: str, load: Load) -> dict[str, Any]:
        """One run on a fresh server; again when other programs took its core, to a bound."""
        best: dict[str, Any] = {}
        for _ in range(_TRIES):
            servers.wait_for_quiet()
            with servers.started(server, self.options.server_bin) as running:
                raw = run_load(load, running, self.tokens)
            if not best or raw["others"] < best["others"]:
                best = raw
            if best["others"] <= _OTHERS:
                return best
        self.disturbed += 1
        return best

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show ``what`` while it runs; what is said to the result stays on the screen.

        A failure is noted, and the rest goes on.
        """
        progress = Progress(
            SpinnerColumn(),
            TextColumn(what),
            TimeElapsedColumn(),
            console=self.say,
            transient=True,
            disable=not self.say.is_terminal,
        )
        try:
            with progress:
                progress.add_task(what, total=None)
                yield lambda result: progress.console.print(f"{what}  {result}", highlight=False)
        except (LoadFailed, servers.ServerFailed) as error:
            self.failures.append(f"{what}: {error}")
            self.say.print(f"[red]{what} failed:[/] {escape(str(error))}", highlight=False)


def simple_cases(bench: Bench) -> None:
    """All but capacity and half load: run by run over all servers, so that they interleave."""
    options = bench.options
    chosen = [case for name, group in scenarios.cases().items() if name in options.only
              for case in group]  # fmt: skip
    for number in range(options.runs):
        for case in map(scenarios.shortened, chosen) if options.quick else chosen:
            for server in case.servers:
                if server not in options.servers or number >= case.most_runs:
                    continue
                what = f"run {number + 1}/{options.runs}  {case.name:24} {server:6}"
                with bench.doing(what) as result:
                    raw = bench.once(server, case.load)
                    figures = case.read(case.load, raw)
                    bench.row(case.name, case.title, case.columns).add(server, figures)
                    first = case.columns[0]
                    result(f"{figures[first.key]:,.{first.digits}f} {first.heading}")


def capacity(bench: Bench) -> None:
    """Search, for every server, how many headsets it carries."""
    row = bench.row("capacity", "headsets at 55 fps, 40 kB, one viewer each, p99 < 100 ms",
                    scenarios.CAPACITY)  # fmt: skip
    for number in range(min(bench.options.runs, 3)):
        for server in bench.options.servers:
            with bench.doing(f"run {number + 1}  capacity  {server:6}") as result:
                headsets = scenarios.search(partial(_fits, bench, server, result))
                row.add(server, {"headsets": headsets})
                result(f"{headsets} headsets")


def _fits(bench: Bench, server: str, result: Callable[[str], None], headsets: int) -> bool:
    # What disturbs a run makes it worse, never better: a no is asked again.
    return any(_keeps_up(bench, server, result, headsets) for _ in range(2))


def _keeps_up(bench: Bench, server: str, result: Callable[[str], None], headsets: int) -> bool:
    load = scenarios.fleet(headsets, seconds=3 if bench.options.quick else 5)
    try:
        raw = bench.once(server, load)
    except LoadFailed as error:
        result(f"{headsets}: no, {str(error).splitlines()[0]}")
        return False
    fits, got, window_s = scenarios.carries(load, raw), raw["frames"], raw["window_s"]
    result(
        f"{headsets}: {'yes' if fits else 'no'}, p99 {got.get('p99_ms', 0):.0f} ms, "
        f"{got['delivered'] / window_s / headsets:.1f} fps seen, "
        f"busy: server {raw['cpu_s'] / window_s:.0%}, load {raw['load_cpu_s'] / window_s:.0%}, "
        f"others {raw['others']:.0%}"
    )
    return fits


def latency(bench: Bench) -> None:
    """The age of frames at half of each server's own capacity."""
    found = bench.rows["capacity"]
    row = bench.row("half_load", "frames at half of the server's own capacity", scenarios.LATENCY)
    seconds = 3 if bench.options.quick else 8
    for number in range(min(bench.options.runs, 3)):
        for server in found.runs:
            headsets = int(found.median(server, "headsets"))
            with bench.doing(f"run {number + 1}  half load  {server:6}") as result:
                unpaced = scenarios.fleet(
                    scenarios.half_load(headsets), seconds, scenarios.UNPACED_FPS
                )
                raw = bench.once(server, unpaced)
                paced = bench.once(server, scenarios.fleet(max(1, headsets // 2), seconds))
                figures = {
                    "p50_ms": raw["frames"]["p50_ms"],
                    "p99_ms": raw["frames"]["p99_ms"],
                    "paced_p99_ms": paced["frames"]["p99_ms"],
                    "busy": 100 * raw["cpu_s"] / raw["window_s"],
                    "others": 100 * max(raw["others"], paced["others"]),
                }
                row.add(server, figures)
                result(f"p99 {figures['p99_ms']:.2f} ms")


def _several(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        given = tuple(part.strip() for part in text.split(",") if part.strip())
        for part in given:
            if part not in allowed:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(allowed)}")
        return given

    return parse


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_several(ONLY), default=ONLY, metavar="A,B",
                        help="of: " + ", ".join(ONLY))  # fmt: skip
    parser.add_argument("--servers", type=_several(scenarios.ALL), default=scenarios.ALL,
                        metavar="A,B", help="of: " + ", ".join(scenarios.ALL))  # fmt: skip
    parser.add_argument("--runs", type=int, default=0, metavar="N",
                        help="interleaved runs of each case (5; with --quick 1)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="shorter runs, for a first look")
    parser.add_argument("--server-bin", type=Path, metavar="PATH",
                        default=Path(sys.executable).parent / "quest-backend",
                        help="the quest-backend to measure (this tree's)")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/performance.md's tables")
    options = parser.parse_args(arguments)
    options.runs = options.runs or (1 if options.quick else 5)
    options.server_bin = options.server_bin.absolute()
    if options.runs < 1:
        parser.error("--runs: at least 1")
    if not os.access(options.server_bin, os.X_OK):
        parser.error(f"--server-bin: {options.server_bin} is no program")
    if not {servers.SERVER_CORE, servers.LOAD_CORE} <= os.sched_getaffinity(0):
        parser.error("two cores are needed: one for the server, one for the load")
    return options


def measure(bench: Bench) -> int:
    """Run what was asked for, and report. The exit status."""
    only = bench.options.only
    simple_cases(bench)
    if "capacity" in only or "latency" in only:
        capacity(bench)
    if "latency" in only:
        latency(bench)
    rows = [row for row in bench.rows.values() if row.runs]
    report.show(bench.say, rows)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({row.name: row.runs for row in rows}, indent=1))
    if bench.options.write:
        report.write(DOCUMENT, rows, bench.options.runs)
    if bench.disturbed:
        bench.say.print(
            f"[yellow]other programs disturbed {bench.disturbed} runs:[/] "
            f"they took more than {_OTHERS:.0%} of the server's core. Latencies and capacity "
            "are to be had on a machine that does nothing else."
        )
    for failure in bench.failures:
        bench.say.print(f"[red]failed:[/] {escape(failure)}", highlight=False)
    for name, value in report.ratios(rows):
        print(f"ratio {name} {value:.3f}")
    return 1 if bench.failures or not rows else 0


def main() -> int:
    """Build the tools, make the tokens, measure."""
    options = parse()
    subprocess.run(["make", "-s", "-C", str(servers.ROOT), "relay-tools"], check=True)
    with tempfile.TemporaryDirectory(prefix="bench-relay-tokens-") as folder:
        tokens = Path(folder) / "tokens"
        write_tokens(tokens)
        try:
            # Tables need their width also where there is no terminal.
            console = Console() if sys.stdout.isatty() else Console(width=120)
            return measure(Bench(options, tokens, console))
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
