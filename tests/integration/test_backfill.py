"""`clip-worker classify --from` with a real worker, killed and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.waiting import wait_until
from support.worker_process import WorkerProcess, clean_environment

IMAGES, MISSING = 400, 5
IN_FLIGHT = 20

# The command with few images in flight and a commit whenever some have ended, so that kills come in
# between, and at most IN_FLIGHT rows are not committed.
PROGRAM = f"""
from clip_worker.bulk.run import BulkRun
from worker.cli.entry import main

BulkRun.__init__.__kwdefaults__.update(in_flight={IN_FLIGHT}, commit_s=0.0)
main()
"""

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of small pictures below the worker's file root, and of some that are missing."""
    for number in range(8):
        Image.new("RGB", (32, 32), (30 * number, 0, 255)).save(tmp_path / f"{number}.png")
    path = tmp_path / "pets.csv"
    uris = [(tmp_path / f"{number % 8}.png").as_uri() for number in range(IMAGES)]
    uris += [(tmp_path / f"missing{number}.png").as_uri() for number in range(MISSING)]
    path.write_text("id,url\n" + "".join(f"{n},{uri}\n" for n, uri in enumerate(uris)))
    return path


class Command:
    """The command in a folder, as often as it is started."""

    def __init__(self, folder: Path, redis_url: str, *arguments: str) -> None:
        self._folder = folder
        self._arguments = (
            *(sys.executable, "-c", PROGRAM, "classify", "--from", "pets.csv"),
            *("--to", "out.jsonl", "--labels", "red,blue", "--redis-url", redis_url, *arguments),
        )
        self.log = folder / "command.log"

    @property
    def rows(self) -> list[str]:
        """Keys of the complete lines in its output."""
        path = self._folder / "out.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line)["key"] for line in lines if line.endswith(b"\n")]

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                (*self._arguments, *more), cwd=self._folder, stderr=log, env=clean_environment()
            )

    def run(self, *more: str) -> int:
        with self.start(*more) as process:
            return process.wait()

    def end(self, process: subprocess.Popen[bytes], number: int, rows: int) -> int:
        """Send a signal once it has written so many rows, and wait until it has ended."""
        with process:
            wait_until(
                lambda: len(self.rows) >= rows or process.poll() is not None,
                self.log.read_text,
            )
            process.send_signal(number)
            return process.wait()


def test_a_run_that_is_killed_twice_and_stopped_once_has_each_row_once(
    running_worker: WorkerProcess, table: Path, tmp_path: Path
) -> None:
    command = Command(tmp_path, running_worker.redis)
    # when
    for end, times in ((signal.SIGKILL, 2), (signal.SIGKILL, 4), (signal.SIGINT, 6)):
        command.end(command.start(), end, times * IN_FLIGHT)
    status = command.run()
    # then
    assert status == 1, command.log.read_text()
    assert command.log.read_text().count("Continuing 'pets.csv.journal'") == 3
    assert sorted(command.rows) == sorted(f"pets.csv:{n}" for n in range(1, IMAGES + 1))
    failures = (tmp_path / "pets.csv.failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["code"] for line in failures] == ["FILE_NOT_FOUND"] * MISSING
    assert f"{MISSING} images failed ({MISSING} FILE_NOT_FOUND)" in command.log.read_text()
    # when the files appear
    for number in range(MISSING):
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"missing{number}.png")
    # then they are sent on demand
    assert command.run("--retry-failed", "all") == 0
    assert len(set(command.rows)) == len(command.rows) == IMAGES + MISSING
    assert not (tmp_path / "pets.csv.failures.jsonl").exists()


def test_two_runs_on_one_journal_are_refused(redis_url: str, table: Path, tmp_path: Path) -> None:
    # given a run that waits for a worker
    command = Command(tmp_path, redis_url)
    with command.start() as first:
        wait_until((tmp_path / "out.jsonl").exists, command.log.read_text)
        # when
        status = command.run()
        # then
        assert status == 1
        assert "Another run uses the journal 'pets.csv.journal'" in command.log.read_text()
        # when Ctrl-C comes twice
        os.kill(first.pid, signal.SIGINT)
        wait_until(
            lambda: "Stopping: waiting for" in command.log.read_text(),
            command.log.read_text,
        )
        os.kill(first.pid, signal.SIGINT)
        # then
        assert first.wait() == 130
