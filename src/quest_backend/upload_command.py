"""``quest-backend upload``: a recording's file from this machine into the bucket."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from quest_backend.client import UploadClient, Uploaded, UploadError
from quest_backend.protocol.recordings import FileType, folder_of, is_folder

out = Console()
err = Console(stderr=True)

_GOES_ON = "The same command goes on where this one ended."
# A server that is not there at all is a wrong URL; one that goes away later is waited for.
_REACH_S = 5.0
_BY_SUFFIX = {".mp4": FileType.VIDEO, ".npz": FileType.DATA}


def upload(
    file: Annotated[Path, typer.Argument(help="An .mp4 or .npz.", exists=True, dir_okay=False)],
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:3200",
    timestamp: Annotated[
        str | None,
        typer.Option(help="When it was recorded; else its folder's name, else its file's time."),
    ] = None,
    kind: Annotated[
        FileType | None, typer.Option("--type", help="Which file it is; else by its suffix.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Capture session it belongs to.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="QUEST_TOKEN", help="A device token.", show_envvar=True)
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ADMIN_API_KEY", help="The admin key, when there is no token."),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(envvar="DATA_DIR", help="Where else the admin key is looked for.")
    ] = Path("data"),
    connections: Annotated[int, typer.Option(min=1, max=64, help="Parts at a time.")] = 4,
) -> None:
    """Upload a recording's file in parts. Again after an interruption goes on where it was."""
    file_type = kind or _BY_SUFFIX.get(file.suffix.lower())
    if file_type is None:
        raise fail(f"{file.name} is neither .mp4 nor .npz; say --type video or --type data")
    if token is None and api_key is None:
        api_key = kept_key(data_dir)
    try:
        when = folder_of(timestamp) if timestamp else _time_of(file)
    except ValueError as error:
        raise fail(f"--timestamp: {error}") from None
    client = UploadClient(
        url, token=token, api_key=None if token else api_key, connections=connections
    )
    try:
        done = asyncio.run(_upload(client, file, when, file_type, session))
    except OSError as error:
        raise fail(str(error)) from None
    except UploadError as error:
        # What was refused is refused again.
        hint = "" if error.status in range(400, 500) else f"\n{_GOES_ON}"
        raise fail(f"{error}{hint}") from None
    except KeyboardInterrupt:
        raise fail(f"interrupted\n{_GOES_ON}") from None
    resumed = f", {done.resumed_parts} parts were there already" if done.resumed_parts else ""
    out.print(f"{done.location}  ETag {done.etag}{resumed}", highlight=False, soft_wrap=True)


async def _upload(
    client: UploadClient, file: Path, when: str, file_type: FileType, session: str | None
) -> Uploaded:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(file.name, total=None)
        async with client:
            await client.reach(_REACH_S)
            return await client.upload(
                file,
                timestamp=when,
                file_type=file_type,
                session_id=session,
                progress=lambda done, size: bar.update(task, completed=done, total=size),
            )


def _time_of(file: Path) -> str:
    name = file.resolve().parent.name
    if is_folder(name):
        return name
    return f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y%m%d_%H%M%S}"


def kept_key(data_dir: Path) -> str:
    """The admin key that a server keeps there; without one the command ends."""
    try:
        return (data_dir / "admin-api-key").read_text().strip()
    except OSError:
        raise fail(
            "no credentials: give --api-key (or --token for uploads), or --data-dir of the server"
        ) from None


def fail(message: str) -> typer.Exit:
    """Say why the command ends; raise the result."""
    err.print(f"[red]quest-backend:[/] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(1)
