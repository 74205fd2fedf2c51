"""Compiles src/native, the module traderd.native, where a C compiler is at hand; else its twins in Python serve."""

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Native(BuildHookInterface):
    """Called by hatchling before it packs a wheel, an editable one too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the module into the package and into the wheel, which then is for this interpreter and machine alone."""
        if self.target_name != "wheel":
            return
        sources = sorted(Path(self.root, "src", "native").glob("*.c"))
        module = Path(self.root, "src", "traderd", f"native{sysconfig.get_config_var('EXT_SUFFIX')}")
        fault = compiled(sources, module)
        if fault:
            module.unlink(missing_ok=True)
            self.app.display_warning(f"traderd is installed without its compiled part, which makes it faster: {fault}")
            return
        build_data["infer_tag"] = True
        build_data["pure_python"] = False
        if version != "editable":
            build_data["force_include"][str(module)] = f"traderd/{module.name}"


def compiled(sources: list[Path], module: Path) -> str:
    """Why there is no module; "" if there is one."""
    command = [
        *shlex.split(sysconfig.get_config_var("CC") or "cc"),
        *("-O2", "-shared", "-fPIC", "-fno-strict-overflow", f"-I{sysconfig.get_path('include')}"),
        *(["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []),
        *("-o", str(module), *map(str, sources)),
    ]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # the command is our own
    except OSError as error:
        return str(error)
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or ["the compiler failed"])[0]
