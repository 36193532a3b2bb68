"""Child processes that end with their parent."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli.child_process import ChildProcess

LIMIT_S = 30.0
OPEN_LIFELINE = 'exec 9>"$0"; printf x >&9; '
PARENT = """
import os, sys
from pathlib import Path
from worker.cli.child_process import ChildProcess

ChildProcess(["/bin/sh", "-c", *sys.argv[2:]], dict(os.environ), Path(sys.argv[1])).start()
sys.stdin.read()
"""


class Lifeline:
    """A named pipe that a process holds open for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pipe"
        os.mkfifo(self.path)
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """A byte as soon as the process has written one; nothing once it is dead."""
        readable, _, _ = select.select([self._reader], [], [], LIMIT_S)
        assert readable, f"the process neither wrote nor ended within {LIMIT_S} s"
        return os.read(self._reader, 1)

    def close(self) -> None:
        os.close(self._reader)


@pytest.fixture
def lifeline(tmp_path):
    lifeline = Lifeline(tmp_path)
    yield lifeline
    lifeline.close()


@pytest.fixture
def child(tmp_path, lifeline):
    """Starts a shell script whose `$0` is the lifeline's path."""

    def child(script):
        command = ["/bin/sh", "-c", script, str(lifeline.path)]
        child = ChildProcess(command, os.environ, tmp_path / "log")
        child.start()
        return child

    return child


def test_a_process_that_ignores_sigterm_is_killed(child, lifeline):
    process = child(f"trap '' TERM; {OPEN_LIFELINE} while :; do sleep 1000; done")
    assert lifeline.read() == b"x"

    process.stop(limit_s=0.1)

    assert lifeline.read() == b""


def test_the_output_and_the_exit_status_of_a_process_are_kept(child, lifeline):
    process = child('echo out; echo err >&2; exec 9>"$0"; exit 7')
    assert lifeline.read() == b""
    while process.exit_status is None:
        pass

    assert process.exit_status == 7
    assert process.output == "out\nerr\n"
    process.stop(limit_s=1)


def test_a_process_ends_when_its_parent_is_killed(tmp_path, lifeline):
    script = [f"{OPEN_LIFELINE} exec sleep 1000", str(lifeline.path)]
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), *script]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        assert lifeline.read() == b"x"

        parent.kill()

    assert lifeline.read() == b""
