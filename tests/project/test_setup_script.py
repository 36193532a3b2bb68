"""Which Python `make setup` chooses, with interpreters that only answer what they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.sh"
# Answers its version, agrees to whatever else it is asked, and makes no environment.
INTERPRETER = """\
#!/bin/sh
case "$*" in
    --version) echo "Python {version}.0" ;;
    *"-m venv"*) exit 9 ;;
esac
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the script and, in `bin`, a Redis server."""
    for folder in ("scripts", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    program(tmp_path / "bin" / "redis-server", "#!/bin/sh\n")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def chosen(repository: Path, *versions: str, **environment: str) -> str:
    """What the script prints where these Pythons are on the PATH."""
    for version in versions:
        program(repository / "bin" / f"python{version}", INTERPRETER.format(version=version))
    path = f"{repository / 'bin'}:{os.environ['PATH']}"
    finished = subprocess.run(
        ["bash", str(repository / "scripts" / "setup.sh"), "runtime"],
        env={**os.environ, "PYTHON": "", "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("3.11", "3.12", "3.13", "3.14", "3.15"), "3.14"),
        (("3.13", "3.14"), "3.14"),
    ],
)
def test_the_newest_python_that_has_a_wheel_of_everything_is_chosen(
    repository: Path, there: tuple[str, ...], expected: str
):
    assert f"with Python {expected}.0" in chosen(repository, *there)


def test_the_interpreter_that_is_named_is_taken(repository: Path):
    assert "with Python 3.15.0" in chosen(repository, "3.14", "3.15", PYTHON="python3.15")


def test_an_interpreter_that_does_not_run_is_named(repository: Path):
    said = chosen(repository, "3.14", PYTHON="/no/such/python")
    assert "'/no/such/python' is no Python 3.11 or newer" in said
