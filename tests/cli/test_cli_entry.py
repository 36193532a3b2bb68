"""`clip-worker` as a whole: help, exit statuses, and what a command imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clip_worker.version import __version__
from worker.cli.entry import COMMANDS, run
from worker.cli.labels import COMMANDS as LABEL_COMMANDS

LOADED = """
import sys
from worker.cli.entry import run
status = run(sys.argv[2:])
print([name for name in sys.argv[1].split(",") if name in sys.modules], status)
"""


def loaded_after(modules: str, *arguments: str) -> str:
    """Run a command in a new interpreter: which of the modules it imports, and its status."""
    command = [sys.executable, "-c", LOADED, modules, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return printed.splitlines()[-1]


def test_help_lists_all_commands(capsys):
    assert run(["--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    listed = [name for name in COMMANDS if any(line.startswith(f"  {name} ") for line in lines)]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        *(f"models {name}" for name in ("list", "download", "verify", "info")),
        *(f"labels {name}" for name in LABEL_COMMANDS),
    ],
)
def test_every_command_has_help(command, capsys):
    assert run([*command.split(), "--help"]) == 0

    assert capsys.readouterr().out.startswith(f"Usage: clip-worker {command} ")


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0

    assert capsys.readouterr().out == f"clip-worker {__version__}\n"


def test_an_unknown_command_is_invalid_input(capsys):
    assert run(["strat"]) == 2

    assert "No such command 'strat'" in capsys.readouterr().err


def test_help_imports_nothing_slow():
    assert loaded_after("celery,redis,pydantic,rich,torch,PIL,numpy", "--help") == "[] 0"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["classify", "data:,", "--labels", "a", "--redis-url", "redis://localhost:1"], 1),
        (["start", "--redis-url", "redis://localhost:1", "--redis-wait", "0"], 1),
        (["models", "list", "--cache-dir", "nowhere"], 0),
        (["models", "verify", "--cache-dir", "nowhere"], 0),
        (["demo", "--help"], 0),
        (["tune", "--help"], 0),
    ],
)
def test_no_command_imports_torch_or_the_engine_before_it_becomes_a_worker(arguments, status):
    loaded = loaded_after("torch,torchvision,clip_engine.engine", *arguments)

    assert loaded == f"[] {status}"
