"""The ``quest-backend`` command."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from quest_backend import (
    __version__,
    app,
    child,
    cli_qa,
    logs,
    settings,
    stats_command,
    tokens,
    upload_command,
    worker_command,
)
from quest_backend.protocol.events import DeviceType
from quest_backend.protocol.limits import MAX_MESSAGE_BYTES
from quest_backend.simulator import Scenario, SimulatorError, SimulatorOptions
from quest_backend.simulator import simulate as run_simulator
from quest_backend.sockets.websocket import PROTOCOLS

cli = typer.Typer(
    help="The backend of a fleet of Meta Quest headsets that record hands.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()
err = Console(stderr=True)

cli.command("qa", epilog="Example: quest-backend qa ./sessions/20260206_143052")(cli_qa.qa)
cli.command(epilog="Example: REDIS_URL=redis://lab:6379 quest-backend worker --concurrency 8")(
    worker_command.worker
)

Port = Annotated[int | None, typer.Option(help="Port to listen on (PORT, else 3200).")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (HOST, else all).")]
DataDir = Annotated[
    Path | None, typer.Option(help="Embedded stores and secrets (DATA_DIR, else ./data).")
]


def _fail(message: str) -> typer.Exit:
    err.print(f"[red]quest-backend:[/] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _settings(
    port: int | None = None, host: str | None = None, data_dir: Path | None = None
) -> settings.Settings:
    try:
        return settings.load(port=port, host=host, data_dir=data_dir)
    except settings.SettingsError as error:
        raise _fail(str(error)) from None


def _raise_file_limit() -> None:
    """Take as many file descriptors as the system allows: each socket is one, 1,024 is usual."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Server(uvicorn.Server):
    """Tells the app before the first socket is closed that the server goes, not the clients."""

    def __init__(self, config: uvicorn.Config, server: app.Server) -> None:
        super().__init__(config)
        self._app = server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.drain()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No new connections; those that are here leave in good order; then uvicorn's own end."""
        for listener in self.servers:
            listener.close()
        if not self.force_exit:
            await self._app.leave()
        await super().shutdown(sockets)


def _bind(config: settings.Settings, advice: str) -> socket.socket:
    """The server's address, taken; it refuses connections until somebody listens."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((config.host, config.port))
    except OSError:
        taken.close()
        raise _fail(f"port {config.port} is in use; stop what uses it{advice}") from None
    return taken


@cli.command(epilog="Example: quest-backend serve --port 3200 --data-dir /var/lib/quest-backend")
def serve(port: Port = None, host: Host = None, data_dir: DataDir = None) -> None:
    """Run the server. Settings come from the environment; see the README."""
    config = _settings(port, host, data_dir)
    logs.configure(config.log_level)
    # From now on nothing else can take it: the embedded stores choose free ports for themselves.
    address = _bind(config, " or choose another --port")
    try:
        made = tokens.load_secrets(config)
    except OSError as error:
        raise _fail(f"DATA_DIR: cannot keep secrets in {config.data_dir}: {error}") from None
    for path in made.made:
        err.print(f"Made a new secret: {path.resolve()} (mode 600)", highlight=False)
    _raise_file_limit()
    server = app.build(config, made)
    runner = _Server(
        uvicorn.Config(
            server.app,
            http="httptools",
            loop="uvloop",
            ws=PROTOCOLS.get(config.websocket_protocol, config.websocket_protocol),
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            # Engine.IO has pings of its own.
            ws_ping_interval=None,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=config.trusted_proxies,
            timeout_graceful_shutdown=2,
        ),
        server,
    )
    with contextlib.suppress(KeyboardInterrupt):
        runner.run(sockets=[address])
    if not runner.started:
        raise typer.Exit(3)


@cli.command(epilog="Example: quest-backend token QUEST_0001 --type headset")
def token(
    device_id: Annotated[str, typer.Argument(help="8-64 letters, digits, _ or -")],
    kind: Annotated[DeviceType, typer.Option("--type", help="Who it is for.")] = DeviceType.TABLET,
    data_dir: DataDir = None,
) -> None:
    """Print a token for a device, signed with this server's secret."""
    config = _settings(data_dir=data_dir)
    made = tokens.load_secrets(config)
    out.print(tokens.Tokens(made.jwt_secret, made.admin_key).issue(device_id, kind),
              soft_wrap=True, highlight=False)  # fmt: skip


@cli.command(
    epilog="Example: quest-backend simulate --headsets 50 --tablets 5 --fps 30 --duration 60"
)
def simulate(
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:3200",
    headsets: Annotated[int, typer.Option(min=1, help="Simulated headsets.")] = 8,
    tablets: Annotated[int, typer.Option(min=0, help="Simulated tablets.")] = 1,
    fps: Annotated[float, typer.Option(min=0, help="Frames per second and headset.")] = 15,
    duration: Annotated[float, typer.Option(min=0, help="Seconds; 0 until stopped.")] = 30,
    scenario: Annotated[Scenario, typer.Option(help="What happens.")] = Scenario.SESSION,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    live: Annotated[bool, typer.Option(help="Show a live summary.")] = True,
    uploads: Annotated[bool, typer.Option(help="Upload what was recorded.")] = True,
    enrollment_key: Annotated[
        str | None, typer.Option(envvar="ENROLLMENT_KEY", help="When the server needs one.")
    ] = None,
) -> None:
    """Run a fleet of headsets and operators against a server, over the real wire.

    Exit code 1 when an expectation of the scenario failed.
    """
    options = SimulatorOptions(
        url=url,
        headsets=headsets,
        tablets=tablets,
        fps=fps,
        duration_s=duration or None,
        scenario=scenario,
        seed=seed,
        live=live,
        uploads=uploads,
        enrollment_key=enrollment_key,
    )
    _raise_file_limit()
    try:
        report = asyncio.run(run_simulator(options, out))
    except SimulatorError as error:
        raise _fail(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    out.print(report.render())
    if not report.ok:
        raise typer.Exit(1)


@cli.command(epilog="Example: quest-backend demo --headsets 8")
def demo(
    headsets: Annotated[int, typer.Option(min=1, help="Simulated headsets.")] = 8,
    fps: Annotated[float, typer.Option(min=0, help="Frames per second and headset.")] = 15,
    duration: Annotated[float, typer.Option(min=0, help="Seconds; 0 until stopped.")] = 0,
    port: Port = None,
    data_dir: DataDir = None,
) -> None:
    """Run the server with a simulated fleet, and show what happens."""
    config = _settings(port, None, data_dir)
    _bind(config, ", or PORT=3201 make run").close()
    config.data_dir.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{config.port}"
    log_path = config.data_dir / "server.log"
    # Through child.py, so that the server goes too when this process is killed.
    command = [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--",
               sys.executable, "-m", "quest_backend", "serve", "--port", str(config.port),
               "--data-dir", str(config.data_dir)]  # fmt: skip
    with log_path.open("ab") as log_file:
        server = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=log_file, stderr=log_file, start_new_session=True
        )
    try:
        with out.status(f"Starting the server on port {config.port} …"):
            _wait_until_up(server, url, log_path)
        key = tokens.load_secrets(config).admin_key
        out.print(f"Console: {url}/#/sign-in/{key}", highlight=False, soft_wrap=True)
        out.print(f"REST: {url}/docs   log: {log_path}", highlight=False)
        simulate(url=url, headsets=headsets, tablets=1, fps=fps, duration=duration)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
        out.print("Server stopped.")


def _wait_until_up(server: "subprocess.Popen[bytes]", url: str, log_path: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            lines = log_path.read_text(errors="replace").splitlines()[-5:]
            raise _fail("the server did not start:\n" + "\n".join(lines))
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - our own http URL
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise _fail(f"the server did not answer within 30 s; see {log_path}")


cli.command(epilog="Example: quest-backend upload takes/20260206_143052/recording.mp4")(
    upload_command.upload
)
cli.command(
    epilog="Examples: quest-backend stats --refresh\n\n"
    "quest-backend stats --json | jq .sessions.incomplete"
)(stats_command.stats)


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(__version__, highlight=False)


def main() -> None:
    """Entry point."""
    cli()
