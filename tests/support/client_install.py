"""What `pip install clip-worker` installs, without extras, for processes of a test.

A folder of links to the packages that pyproject.toml names for the client, and to what these
require in turn, as installed beside the tests. Nothing else is importable, but the standard library
and our own packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def client_requirements() -> list[str]:
    """The dependencies that are no extra's."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["project"]["dependencies"])


def link_client_packages(folder: Path) -> None:
    """Make the links in a new or empty folder."""
    folder.mkdir(exist_ok=True)
    waiting = [(Requirement(line), "") for line in client_requirements()]
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            if (requirement.name, wanted) not in done:
                done.add((requirement.name, wanted))
                found = distribution(requirement.name)
                waiting += [(Requirement(line), wanted) for line in found.requires or []]
                _link(found.files or [], found.locate_file(""), folder)


def _link(files: object, site: object, folder: Path) -> None:
    assert isinstance(files, list)
    for name in {file.parts[0] for file in files} - {"..", "__pycache__"}:
        if not (folder / name).exists():
            (folder / name).symlink_to(Path(str(site)) / name)


def run_client(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of that folder only.

    Args:
        folder: From `link_client_packages`.
        arguments: Python's own.
        environment: Variables to set.
    """
    path = os.pathsep.join(map(str, (ROOT, folder)))
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        env={**clean, "PYTHONPATH": path, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
