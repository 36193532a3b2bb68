"""The torture run with the newest Celery and kombu; `make torture CELERY=newest`.

They go into a small virtual environment that sees all other packages in the one that this runs in,
and its own first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

FOLDER = "newest-celery"
NEWEST = ("celery", "kombu")


def main(arguments: Sequence[str]) -> int:
    """Make the environment if it is not there, and torture in it."""
    folder = Path(sys.prefix) / FOLDER
    python = folder / "bin" / "python"
    done = folder / ".done"
    if not done.exists():
        make(folder, python)
        done.touch()
    return subprocess.call([str(python), "-W", "ignore", "-m", "torture", *arguments])


def make(folder: Path, python: Path) -> None:
    """Install the newest pair, then let the rest be seen."""
    venv.create(folder, clear=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--upgrade", *NEWEST], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    # addsitedir, not a bare path: our own editable install is itself a .pth file there.
    shared = sysconfig.get_paths()["purelib"]
    (site / "shared.pth").write_text(f"import site; site.addsitedir({shared!r}){os.linesep}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
