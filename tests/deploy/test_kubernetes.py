"""Kubernetes manifests: valid by Kubernetes' own schemas, whole, and true to the server."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from deployment import LONGEST_STOP_S, SETTINGS
from fronts import BIN, DEPLOY
from support import Server

FOLDER = DEPLOY / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
# Of those that kubernetes-validate knows: an old one that is still about, and its newest.
VERSIONS = ["1.29", "1.34"]


def _documents() -> Iterator[dict[str, Any]]:
    for path in FILES:
        yield from yaml.safe_load_all(path.read_text())


def _the(kind: str, name: str = "quest-backend") -> dict[str, Any]:
    (found,) = [
        each for each in _documents() if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


def _pod(name: str) -> dict[str, Any]:
    template: dict[str, Any] = _the("Deployment", name)["spec"]["template"]
    return template


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    done = subprocess.run(
        [BIN / "kubernetes-validate", "-k", version, "--strict", "--quiet", *FILES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_kustomize_takes_everything_but_the_secrets() -> None:
    assert set(KUSTOMIZATION["resources"]) == {path.name for path in FILES} - {
        "secret.example.yaml"
    }
    images = {each["name"] for each in KUSTOMIZATION["images"]}
    for name in ("quest-backend", "quest-backend-worker"):
        (container,) = _pod(name)["spec"]["containers"]
        assert container["image"] in images


def test_settings_are_known_and_secrets_empty() -> None:
    assert set(_the("ConfigMap")["data"]) <= SETTINGS
    for name in ("quest-backend", "quest-backend-worker"):
        secret = _the("Secret", name)["stringData"]
        assert set(secret) <= SETTINGS
        assert set(secret.values()) == {""}
        (container,) = _pod(name)["spec"]["containers"]
        assert {"secretRef": {"name": name}} in container["envFrom"]
    # A worker signs no tokens.
    assert set(_the("Secret", "quest-backend-worker")["stringData"]) == {"REDIS_URL"}


@pytest.mark.parametrize("name", ["quest-backend", "quest-backend-worker"])
def test_what_belongs_together_finds_each_other(name: str) -> None:
    labels = _pod(name)["metadata"]["labels"]
    assert _the("Deployment", name)["spec"]["selector"]["matchLabels"] == labels
    assert _the("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"] == labels
    assert _pod(name)["spec"]["serviceAccountName"] == name
    assert _the("ServiceAccount", name)
    if name == "quest-backend":
        assert _the("Service")["spec"]["selector"] == labels
        assert _the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
        target = _the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}


@pytest.mark.parametrize("name", ["quest-backend", "quest-backend-worker"])
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    spec = _pod(name)["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_a_server_has_the_time_that_its_drain_takes() -> None:
    spec = _pod("quest-backend")["spec"]
    (container,) = spec["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + LONGEST_STOP_S
    assert float(_the("ConfigMap")["data"]["DRAIN_SECONDS"]) + 10 <= LONGEST_STOP_S
    worker = _pod("quest-backend-worker")["spec"]
    assert worker["terminationGracePeriodSeconds"] > LONGEST_STOP_S


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_what_the_server_answers(server: Server, probe: str) -> None:
    (container,) = _pod("quest-backend")["spec"]["containers"]
    asked = container[probe]["httpGet"]
    assert httpx.get(f"{server.url}{asked['path']}", timeout=5).status_code == 200
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == (asked["port"], 3200)


def test_prometheus_finds_the_servers_and_the_autoscaler_its_metric(server: Server) -> None:
    scrape = (DEPLOY / "prometheus" / "kubernetes.yml").read_text()
    annotations = _pod("quest-backend")["metadata"]["annotations"]
    for name in annotations:
        assert re.sub(r"[./]", "_", name) in scrape, name
    assert (
        httpx.get(f"{server.url}{annotations['prometheus.io/path']}", timeout=5).status_code == 200
    )

    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yml").read_text())
    (rule,) = adapter["rules"]["custom"]
    (metric,) = _the("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]
    series = 'turing_connected_devices_total{type="headset"'
    assert series in httpx.get(f"{server.url}/metrics", timeout=5).text
    assert rule["seriesQuery"].startswith(series)
    assert series in rule["metricsQuery"]
