"""The console's lockfile installs the same everywhere, from any registry."""

import json
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[2] / "console" / "package-lock.json"
PLATFORMS = ("linux-x64-gnu", "linux-arm64-gnu", "darwin-arm64", "darwin-x64", "win32-x64-msvc")


def _packages() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(LOCK.read_text())["packages"]
    return {name: package for name, package in found.items() if name}


def test_every_package_is_pinned_by_its_content_and_names_no_registry() -> None:
    packages = _packages()
    assert len(packages) > 100
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package] == []


def test_what_a_package_needs_on_other_platforms_is_locked_too() -> None:
    """npm writes only its own platform's native packages when a lock is made carelessly."""
    packages = _packages()
    wanted = {
        native
        for package in packages.values()
        for native in package.get("optionalDependencies", ())
    }
    assert {native for native in wanted if f"node_modules/{native}" not in packages} == set()
    for platform in PLATFORMS:
        assert f"@rolldown/binding-{platform}" in wanted
