"""Programs that check the files of deploy/; scripts/ensure_deploy_tools.sh installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def find_tool(name: str) -> str:
    """Where a program is; without it the test is left out, and under CI it fails."""
    found = shutil.which(
        name, path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    )
    if found is not None:
        return found
    reason = f"no {name}: run scripts/ensure_deploy_tools.sh"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A finished run of a program; output and errors together, as text."""
    return subprocess.run(
        [find_tool(name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
