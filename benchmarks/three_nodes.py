"""300 headsets at 30 fps over three servers, every viewer on another server than its headset.

Also with fewer headsets and smaller frames, with viewers on the same server (what crossing costs
more), and with two more Valkeys for the frames (BUS_URLS). Servers, Valkeys and clients are real
and share this machine's cores: where these are full, what arrived is what they could do.

Frames are 40 kB of base64 (a JPEG of 640 x 360) or 10 kB (320 x 180).
"""

import argparse
import asyncio
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scaling import ROOT, nodes
from scaling.cluster import Shared, leave_nothing_behind
from scaling.probe import ProbeFailed

from load import write_tokens  # isort: skip  # these two: found once scaling is imported
from servers import ServerFailed  # isort: skip

EXAMPLES = """examples:
  make bench-nodes
  python benchmarks/three_nodes.py --quick
  python benchmarks/three_nodes.py --headsets 60,120 --frame-kb 13 --seconds 20

The last lines are for machines: "ratio NAME VALUE". docs/scaling.md has the table
(python benchmarks/fleet_sizes.py --write).
"""
RESULTS = ROOT / "benchmarks" / "results" / "three_nodes.json"
_FULL_S, _QUICK_S = 10.0, 3.0


def plan(headsets: list[int], frame_kb: list[float]) -> list[dict[str, float]]:
    """All sizes; the smallest also with local viewers, the largest also on a wider bus."""
    runs: list[dict[str, float]] = []
    for kilobytes in frame_kb:
        runs.append({"headsets": min(headsets), "frame_kb": kilobytes, "shift": 0})
        runs += [{"headsets": count, "frame_kb": kilobytes} for count in sorted(headsets)]
    runs.append({"headsets": max(headsets), "frame_kb": min(frame_kb), "shards": 2})
    return runs


async def measure(
    shared: Shared, tokens: Path, planned: list[dict[str, float]], seconds: float, console: Console
) -> tuple[list[nodes.Run], list[str]]:
    """The runs, and what failed."""
    found, failures = [], []
    for number, one in enumerate(planned):
        what = f"{number + 1}/{len(planned)}  " + "  ".join(f"{k} {v:g}" for k, v in one.items())
        try:
            with console.status(what):
                run = await nodes.run(
                    shared, tokens, int(one["headsets"]), frame_kb=one["frame_kb"],
                    seconds=seconds, shards=int(one.get("shards", 0)),
                    shift=int(one.get("shift", 1)),
                )  # fmt: skip
        except (ProbeFailed, ServerFailed) as error:
            failures.append(f"{what}: {error}")
            console.print(f"[red]{what} failed:[/] {escape(str(error))}", highlight=False)
            continue
        found.append(run)
        console.print(f"{what:48} {run.seen_fps:5.1f} frames/s each, p99 {run.age_p99_ms:,.0f} ms, "
                      f"{run.us_per_frame:.0f} µs each", highlight=False)  # fmt: skip
    return found, failures


def show(console: Console, runs: list[nodes.Run]) -> None:
    """A table for people."""
    table = Table(title="Three servers, 30 frames a second sent", title_justify="left")
    for heading, _ in nodes.COLUMNS:
        table.add_column(heading, justify="right")
    for one in runs:
        table.add_row(*(cell(one) for _, cell in nodes.COLUMNS))
    console.print(table)


def _numbers(text: str) -> list[float]:
    try:
        given = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between, not {text!r}") from None
    if not given or min(given) < 1:
        raise argparse.ArgumentTypeError("each at least 1")
    return given


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--headsets", type=_numbers, metavar="A,B",
                        help="(75,150,300; with --quick 300)")  # fmt: skip
    parser.add_argument("--frame-kb", type=_numbers, metavar="A,B",
                        help="sizes of frames (10,40; with --quick 10)")  # fmt: skip
    parser.add_argument("--seconds", type=float, help=f"of each run ({_FULL_S:g}, {_QUICK_S:g})")
    parser.add_argument("--quick", action="store_true", help="a first look: a minute or two")
    given = parser.parse_args()
    given.headsets = [int(n) for n in given.headsets or ([300] if given.quick else [75, 150, 300])]
    given.frame_kb = given.frame_kb or ([10] if given.quick else [10, 40])
    given.seconds = given.seconds or (_QUICK_S if given.quick else _FULL_S)
    if max(given.headsets) > 3000:
        parser.error("--headsets: at most 3000")
    return given


async def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, show, keep."""
    with tempfile.TemporaryDirectory(prefix="bench-nodes-") as folder:
        tokens = Path(folder) / "tokens"
        write_tokens(tokens)
        async with Shared(Path(folder)) as shared:
            planned = plan(options.headsets, options.frame_kb)
            runs, failures = await measure(shared, tokens, planned, options.seconds, console)
    show(console, runs)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([dataclasses.asdict(one) for one in runs], indent=1))
    for name, value in nodes.ratios(runs):
        print(f"ratio {name} {value:.3f}")
    return 1 if failures or not runs else 0


def main() -> int:
    """Build the load generator, then measure."""
    options = parse()
    leave_nothing_behind()
    subprocess.run(["make", "-s", "-C", str(ROOT), "relay-load"], check=True)
    # Tables need their width also where there is no terminal.
    return asyncio.run(run(options, Console() if sys.stdout.isatty() else Console(width=150)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
