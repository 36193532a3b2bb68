from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "sink_crashes.py"


@pytest.fixture
def killed_runs(tmp_path: Path) -> Callable[..., int]:
    """Write to a target in runs that are killed; the number of rows that it then must have."""

    def killed_runs(target: str, kills: int = 50, **plan: Any) -> int:
        given = {"target": target, "journal": str(tmp_path / "journal"), "kills": kills, **plan}
        done = subprocess.run(
            [sys.executable, str(SCRIPT), json.dumps(given)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return killed_runs
