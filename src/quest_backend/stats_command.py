"""``quest-backend stats``: what the bucket holds, as a running server counts it."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from quest_backend.client.http import Api, UploadError
from quest_backend.upload_command import fail, kept_key

out = Console()
err = Console(stderr=True)

_CONNECT_S = 5.0
_ANSWER_S = 120.0
_PATIENCE_S = 60.0
_BAR = 24
# A long list of days is shown by its end.
_DAYS = 14
_STATE_COLOURS = {"fresh": "green", "refreshing": "cyan", "stale": "yellow", "never": "red"}


def stats(
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:3200",
    refresh: Annotated[bool, typer.Option("--refresh", help="Read the bucket first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    sessions: Annotated[
        int, typer.Option(min=0, help="Newest sessions to show; incomplete ones come first.")
    ] = 10,
    api_key: Annotated[str | None, typer.Option(envvar="ADMIN_API_KEY", help="The admin key.")] = (
        None
    ),
    data_dir: Annotated[
        Path, typer.Option(envvar="DATA_DIR", help="Where else the admin key is looked for.")
    ] = Path("data"),
) -> None:
    """Show what the bucket holds: files, sessions, days, costs.

    Numbers are at most 5 minutes old, and every upload that has finished since counts.
    """
    key = api_key or kept_key(data_dir)
    try:
        with err.status("Reading the bucket …" if refresh else "Asking …"):
            state, found = asyncio.run(_ask(url, key, refresh=refresh))
    except UploadError as error:
        raise fail(str(error)) from None
    if as_json:
        typer.echo(json.dumps(found))
        return
    out.print(report(state, found, sessions))


async def _ask(url: str, key: str, *, refresh: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        api = Api(http, url, {"X-API-Key": key}, _PATIENCE_S if refresh else _CONNECT_S)
        if refresh:
            await api.call("POST", "/api/s3-stats/refresh")
        found = await api.call("GET", "/api/s3-stats")
        return await api.call("GET", "/api/s3-stats/status"), found


def report(state: dict[str, Any], found: dict[str, Any], sessions: int) -> RenderableType:
    """Schema S3Stats for a terminal. ``state`` is the answer of ``/status``."""
    parts: list[RenderableType] = [_head(state, found), Text(), _types(found)]
    parts += [Rule("sessions", style="dim"), *_sessions(found["sessions"], sessions)]
    parts += [Rule("stored by day", style="dim"), _days(found["timeline"])]
    parts += [Rule("sizes and costs", style="dim"), _sizes(found["insights"]), _costs(found)]
    return Group(*parts)


def _head(state: dict[str, Any], found: dict[str, Any]) -> Text:
    overview, name = found["overview"], state["state"]
    text = Text.assemble(
        (f"{overview['totalFiles']:,} files, {size(overview['totalSizeBytes'])}", "bold"),
        f", {size(overview['averageFileSizeMB'] * 2**20)} on average; ",
        f"counted {overview['lastUpdated']}, ", (name, _STATE_COLOURS.get(name, "")),
    )  # fmt: skip
    if state["error"]:
        text.append(f"\nThe last pass failed: {state['error']}", "red")
    return text


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit takes all")


def bar(share: float) -> str:
    """``share`` of 0..1 as a bar; something is never nothing."""
    return "█" * max(1, round(share * _BAR)) if share > 0 else ""


def _types(found: dict[str, Any]) -> Table:
    table = _table("type", "files", "size", "share")
    for extension, row in sorted(found["byType"].items(), key=lambda one: -one[1]["sizeGB"]):
        share = row["percentage"]
        table.add_row(
            Text(extension), f"{row['count']:,}", size(row["sizeGB"] * 2**30), f"{share:.1f} %",
            Text(bar(share / 100), "cyan"),
        )  # fmt: skip
    return table


def _sessions(found: dict[str, Any], count: int) -> list[RenderableType]:
    line = Text.assemble(
        f"{found['total']:,} sessions: ", (f"{found['complete']:,} complete", "green"), ", ",
        (f"{found['incomplete']:,} incomplete", "yellow" if found["incomplete"] else "dim"),
    )  # fmt: skip
    newest = sorted(found["sessions"], key=lambda row: row["id"], reverse=True)
    newest.sort(key=lambda row: str(row["status"]) == "complete")
    if not newest[:count]:
        return [line]
    table = _table("session", "files", "size", ".mp4", ".npz")
    for row in newest[:count]:
        whole = row["status"] == "complete"
        table.add_row(
            Text(row["id"], "" if whole else "yellow"), str(row["files"]),
            size(row["sizeGB"] * 2**30), _mark(row["hasMp4"]), _mark(row["hasNpz"]),
        )  # fmt: skip
    more = len(newest) - count
    rest = [Text(f"and {more:,} more: --sessions {len(newest)}", "dim")] if more > 0 else []
    return [line, table, *rest]


def _mark(there: bool) -> Text:
    return Text("✓", "green") if there else Text("missing", "red")


def _days(timeline: list[dict[str, Any]]) -> Table:
    table = _table("day", "files", "size", ".mp4", ".npz", ".zip")
    most = max((day["sizeGB"] for day in timeline[-_DAYS:]), default=0) or 1
    for day in timeline[-_DAYS:]:
        counts = [f"{day[name]:,}" for name in ("mp4Count", "npzCount", "zipCount")]
        table.add_row(
            day["date"], f"{day['files']:,}", size(day["sizeGB"] * 2**30), *counts,
            Text(bar(day["sizeGB"] / most), "cyan"),
        )  # fmt: skip
    return table


def _sizes(insights: dict[str, Any]) -> Table:
    table = _table("recordings", "count", "least", "median", "mean", "most")
    for label, name, unit in ((".mp4", "videoStats", "GB"), (".npz", "npzStats", "MB")):
        row, scale = insights[name], 2**30 if unit == "GB" else 2**20
        cells = [size(row[f"{each}{unit}"] * scale) for each in ("min", "median", "avg", "max")]
        table.add_row(label, f"{row['count']:,}", *cells)
    return table


def _costs(found: dict[str, Any]) -> Table:
    table = _table("a month on AWS", "US$")
    costs = found["costs"]
    for label, name in (
        ("standard", "currentMonthly"),
        ("intelligent tiering", "intelligentTiering"),
        ("glacier deep archive", "glacierDeepArchive"),
        ("standard, per complete session", "costPerSession"),
    ):
        value = costs[name]
        table.add_row(label, f"{value:,.2f}" if value >= 0.1 or not value else f"{value:.2g}")
    outputs = found["processedOutputs"]
    table.caption = f"{outputs['count']:,} processed outputs, {size(outputs['sizeGB'] * 2**30)}"
    table.caption_justify = "left"
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
