"""`clip-worker classify --from` and the power: what a run has committed is on the disk."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image
from support.power_cut import PowerCutDisk
from support.worker_process import WorkerProcess, clean_environment

IMAGES = 400
CUTS = 4

# The command with few images in flight, many commits and small part files. It stops itself at a
# commit: every other time before the journal has it, and else after.
PROGRAM = """
import os, signal, sys
from clip_worker.bulk.journal import Journal
from clip_worker.bulk.run import BulkRun
from clip_worker.sinks.parquet import ParquetSink
from worker.cli.entry import main

left, moment = int(sys.argv.pop(1)), sys.argv.pop(1)

def commit(self, checkpoint, commit=Journal.commit):
    global left
    left -= 1
    if left == 0 and moment == "before":
        os.kill(os.getpid(), signal.SIGSTOP)
    commit(self, checkpoint)
    if left == 0 and moment == "after":
        os.kill(os.getpid(), signal.SIGSTOP)

Journal.commit = commit
BulkRun.__init__.__kwdefaults__.update(in_flight=20, commit_s=0.0)
ParquetSink.__init__.__kwdefaults__.update(part_bytes=10_000)
main()
"""

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def of_lines(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_bytes().splitlines()]


def of_parquet(path: Path) -> list[str]:
    return [str(key) for key in pyarrow.parquet.read_table(path)["key"].to_pylist()]


def of_sqlite(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [key for (key,) in database.execute("SELECT key FROM clip_results")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutDisk]:
    with PowerCutDisk(tmp_path) as disk:
        yield disk


@pytest.mark.parametrize("journal", ["disk/run.journal", "run.journal"])
@pytest.mark.parametrize(
    ("sink", "keys"),
    [("out.jsonl", of_lines), ("out.parquet", of_parquet), ("sqlite:///out.db", of_sqlite)],
)
def test_a_run_whose_power_is_cut_has_each_row_once(
    running_worker: WorkerProcess,
    disk: PowerCutDisk,
    tmp_path: Path,
    sink: str,
    keys: Callable[[Path], list[str]],
    journal: str,
) -> None:
    # given a journal on the disk with the results, or on one that keeps its power
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    table = tmp_path / "pets.csv"
    table.write_text("url\n" + f"{(tmp_path / 'red.png').as_uri()}\n" * IMAGES)
    scheme, _, name = sink.rpartition("/")
    result = disk.path / name
    log = tmp_path / "command.log"

    def start(commits: int = 0, moment: str = "") -> subprocess.Popen[bytes]:
        to = f"{scheme}/{result}" if scheme else str(result)
        command = (sys.executable, "-c", PROGRAM, str(commits), moment, "classify")
        options = ("--from", str(table), "--to", to, "--journal", journal)
        with log.open("ab") as output:
            return subprocess.Popen(
                (*command, *options, "--labels", "red,blue", "--redis-url", running_worker.redis),
                cwd=tmp_path,
                stderr=output,
                env=clean_environment(),
            )

    # when
    for cut in range(CUTS):
        with start(4 + cut, ("before", "after")[cut % 2]) as process:
            ended = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert ended is not None
            assert ended.si_code == os.CLD_STOPPED, log.read_text()
            disk.cut(process)
    with start() as process:
        status = process.wait()
    # then
    assert status == 0, log.read_text()
    assert log.read_text().count("Continuing") == CUTS
    assert sorted(keys(result)) == sorted(f"pets.csv:{n}" for n in range(1, IMAGES + 1))
