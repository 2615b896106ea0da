"""The command: ``make chaos``, or ``PYTHONPATH=tests python -m chaos``."""

import asyncio
import logging
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chaos.invariants import MEANING, Invariant
from chaos.run import Report, run, run_broken
from chaos.world import Size, world

out = Console(highlight=False)
cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_SHOWN = 20
_EXAMPLES = """Examples:  make chaos SEED=7 MINUTES=10;
make chaos ARGS="--headsets 12 --tablets 3";  make chaos ARGS="--break uploads" """


@cli.command(epilog=_EXAMPLES)
def chaos(
    seed: Annotated[int | None, typer.Option(help="Same seed, same faults. Default: any.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="How long.")] = 3.0,
    headsets: Annotated[int, typer.Option(min=2, max=1000)] = 60,
    tablets: Annotated[int, typer.Option(min=1, max=100)] = 6,
    nodes: Annotated[int, typer.Option(min=2, max=9, help="Servers.")] = 3,
    grace: Annotated[
        float, typer.Option(min=12, max=600, help="Seconds; more on a machine that has other work.")
    ] = 15.0,
    sabotage: Annotated[
        Invariant | None,
        typer.Option("--break", help="Break this on purpose: the run has to fail."),
    ] = None,
) -> None:
    """Break servers, Valkey and connections under a recording fleet, and check what is promised.

    Ends with 0 when everything came true again after each fault, else with 1; then the servers'
    logs are kept.
    """
    if headsets < tablets:
        raise typer.BadParameter("each tablet needs a headset", param_hint="--headsets")
    # A client whose socket was aborted says so for each packet that it still had.
    logging.getLogger("engineio.client").setLevel(logging.CRITICAL)
    seed = secrets.randbelow(10_000) if seed is None else seed
    size = Size(headsets, tablets, nodes, grace)
    out.print(
        f"{nodes} servers, {headsets} headsets, {tablets} tablets, {minutes:g} min, "
        f"seed [bold]{seed}[/]; grace {grace:g} s"
    )
    folder = Path(tempfile.mkdtemp(prefix="quest-chaos-"))
    report = asyncio.run(_run(folder, size, seed, minutes * 60, sabotage))
    _print(report)
    out.print(f"Again: make chaos SEED={seed} MINUTES={minutes:g}")
    if report.ok:
        shutil.rmtree(folder, ignore_errors=True)
        return
    out.print(f"Logs: {folder}/node*/server.log")
    raise typer.Exit(1)


async def _run(
    folder: Path, size: Size, seed: int, seconds: float, sabotage: Invariant | None
) -> Report:
    async with world(folder, size, seed) as everything:
        if sabotage is not None:
            return await run_broken(everything, seed, sabotage, out.print)
        return await run(everything, seed, seconds, out.print)


def _print(report: Report) -> None:
    table = Table(title="What was checked", title_justify="left")
    table.add_column("promise")
    table.add_column("statements", justify="right")
    table.add_column("")
    broken = {finding.invariant for finding in report.findings}
    for invariant, meaning in MEANING.items():
        mark = "[red]✗ broken[/]" if invariant in broken else "[green]✓[/]"
        table.add_row(meaning, f"{report.checked[invariant]:,}", mark)
    out.print(table)
    out.print("Faults: " + ", ".join(f"{n}x {fault}" for fault, n in report.faults.items()))
    out.print(f"Slowest to come true again: {report.slowest_s:.1f} s")
    for finding in report.findings[:_SHOWN]:
        out.print(f"[red]✗[/] {finding}")
    if len(report.findings) > _SHOWN:
        out.print(f"and {len(report.findings) - _SHOWN} more")


if __name__ == "__main__":
    cli()
