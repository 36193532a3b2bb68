"""`clip-worker` as a whole: help, statuses, and what a command loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from worker.cli.entry import COMMANDS, run
from worker.version import __version__

LOADED = """
import sys
from worker.cli.entry import run
status = run(sys.argv[2:])
print([name for name in sys.argv[1].split(",") if name in sys.modules], status)
"""


def loaded_after(modules: str, *arguments: str) -> str:
    """Run the command line in a fresh interpreter; which of the modules it has loaded."""
    command = [sys.executable, "-c", LOADED, modules, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_help_names_all_commands(capsys):
    assert run(["--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [name for name in COMMANDS if any(line.startswith(f"  {name} ") for line in lines)] == [
        "start",
        "classify",
        "dead",
        "models",
        "demo",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert run([command, "--help"]) == 0

    assert capsys.readouterr().out.startswith(f"Usage: clip-worker {command}")


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0

    assert capsys.readouterr().out == f"clip-worker {__version__}\n"


def test_an_unknown_command_is_wrong_input(capsys):
    assert run(["strat"]) == 2

    assert "No such command 'strat'" in capsys.readouterr().err


def test_help_loads_nothing_that_takes_time():
    printed = loaded_after("celery,redis,pydantic,rich,torch,PIL,numpy", "--help")

    assert printed.endswith("[] 0\n")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["classify", "data:,", "--labels", "a", "--redis-url", "redis://localhost:1"], 1),
        (["start", "--redis-url", "redis://localhost:1", "--redis-wait", "0"], 1),
        (["models", "list", "--cache-dir", "nowhere"], 0),
        (["models", "verify", "--cache-dir", "nowhere"], 0),
        (["demo", "--help"], 0),
    ],
)
def test_no_command_loads_torch_or_the_engine_before_it_becomes_a_worker(arguments, status):
    printed = loaded_after("torch,torchvision,clip_engine.engine", *arguments)

    assert printed.endswith(f"[] {status}\n")
