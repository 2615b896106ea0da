"""Medians, tables, ratios, and the table of docs/performance.md."""

import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scenarios import Column, Figures
from servers import LABELS

START = "<!-- written by: make bench-relay ARGS=--write -->"
END = "<!-- end of the measured part -->"


@dataclass(slots=True)
class Row:
    """The figures of one case: of every server, one per run."""

    name: str
    title: str
    columns: tuple[Column, ...]
    runs: dict[str, list[Figures]] = field(default_factory=dict)

    def add(self, server: str, figures: Figures) -> None:
        """One more run."""
        self.runs.setdefault(server, []).append(figures)

    def median(self, server: str, key: str) -> float:
        """Of a server's runs."""
        return statistics.median(figures[key] for figures in self.runs[server])

    def cells(self) -> Iterator[list[str]]:
        """Label, figures, and what the first column is against ours."""
        for server in self.runs:
            values = [f"{self.median(server, c.key):,.{c.digits}f}" for c in self.columns]
            yield [LABELS[server], *values, str(len(self.runs[server]))]

    def headings(self) -> list[str]:
        """Above the cells."""
        return ["", *(column.heading for column in self.columns), "runs"]


def ratios(rows: list[Row]) -> Iterator[tuple[str, float]]:
    """Every headline figure of ours, and against each other server."""
    for row in rows:
        for column in row.columns:
            if not column.headline or "ours" not in row.runs:
                continue
            ours = row.median("ours", column.key)
            yield f"{row.name}_{column.key}_ours", ours
            for server in row.runs:
                theirs = row.median(server, column.key)
                if server != "ours" and theirs > 0:
                    yield f"{row.name}_{column.key}_ours_to_{server}", ours / theirs


def show(console: Console, rows: list[Row]) -> None:
    """Tables for people."""
    for row in rows:
        table = Table(title=row.title, title_justify="left", title_style="bold")
        for number, heading in enumerate(row.headings()):
            table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
        for cells in row.cells():
            table.add_row(*cells)
        console.print(table)


def machine() -> str:
    """What it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def markdown(rows: list[Row], runs: int) -> str:
    """The measured part of the document."""
    lines = [START, "", f"{machine()}; median of {runs} interleaved runs.", ""]
    for row in rows:
        headings = row.headings()
        lines += [f"**{row.title}**", ""]
        lines.append("| " + " | ".join(headings) + " |")
        lines.append("|---|" + "---:|" * (len(headings) - 1))
        lines += ["| " + " | ".join(cells) + " |" for cells in row.cells()]
        lines.append("")
    lines += ["| ratio | value |", "|---|---:|"]
    lines += [f"| `{name}` | {value:.3f} |" for name, value in ratios(rows)]
    return "\n".join([*lines, "", END])


def write(path: Path, rows: list[Row], runs: int) -> None:
    """Replace the measured part of ``path``.

    Raises:
        ValueError: it has none.
    """
    text = path.read_text()
    before, found, rest = text.partition(START)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} has no part between {START!r} and {END!r}")
    path.write_text(before + markdown(rows, runs) + after)
