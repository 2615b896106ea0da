"""Alerts and dashboards ask for metrics, and by labels, that the server really has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from fronts import DEPLOY
from support import Server

# Prometheus makes these itself.
OWN = {"up", "instance", "job", "le"}


def _alerts() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["action"], rule["alert"]
            yield rule["alert"], rule["expr"]


def _panels() -> Iterator[tuple[str, str]]:
    for file in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"]


def _names(query: str) -> set[str]:
    found: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(str(node.name))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def _labels(query: str) -> set[str]:
    by = re.findall(r"by \(([^)]*)\)", query)
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    return {one.strip() for group in by for one in group.split(",")} | set(matched)


@pytest.fixture
def exposed(server: Server) -> dict[str, str]:
    """The name of every series, with the text of its family: HELP, TYPE and samples."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    series: dict[str, str] = {}
    for family in text.split("# HELP ")[1:]:
        name, kind = re.findall(r"# TYPE (\S+) (\S+)", family)[0]
        endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        series.update({name + ending: family for ending in endings})
    return series


@pytest.mark.parametrize(("where", "query"), [*_alerts(), *_panels()])
def test_every_query_names_what_is_exposed(exposed: dict[str, str], where: str, query: str) -> None:
    names = _names(query)
    assert names, where
    assert names - OWN <= set(exposed), where
    known = Path(__file__).parents[2] / "src" / "quest_backend" / "metrics.py"
    for label in _labels(query) - OWN:
        assert f'"{label}"' in known.read_text(), f"{where}: no label {label}"


def test_every_alert_has_its_paragraph() -> None:
    documented = re.findall(
        r"^\| `(Quest\w+)`", (DEPLOY.parent / "docs" / "deploy.md").read_text(), re.MULTILINE
    )
    assert set(documented) == {alert for alert, _ in _alerts()}


def test_every_metric_says_what_it_is(exposed: dict[str, str]) -> None:
    for name, family in exposed.items():
        assert len(family.splitlines()[0].split(" ", 1)[-1]) > 3, name
