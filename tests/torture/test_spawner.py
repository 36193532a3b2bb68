"""Processes from the zygote, and the journal that outlives them."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.waiting import is_gone, wait_until

from torture.journal import Journal, JournalReader
from torture.spawner import Command, ZygoteSpawner, python_environment

WAIT_S = 30.0
CHILD = "torture.fake_worker"
JOURNAL = "child.journal"


@pytest.fixture
def zygote(tmp_path):
    with ZygoteSpawner([CHILD], tmp_path / "zygote.log") as spawner:
        yield spawner


def command(folder, *arguments, **environment):
    everything = python_environment() | {"TORTURE_JOURNAL": str(folder / JOURNAL)} | environment
    return Command(CHILD, arguments, everything, folder / "child.log")


def test_a_child_runs_with_its_arguments_and_its_environment(zygote, tmp_path):
    pid = zygote.start(command(tmp_path, "print", "TORTURE_WORD", TORTURE_WORD="hello"))
    assert _next_end(zygote) == (pid, 0)
    assert (tmp_path / "child.log").read_text() == "hello\n"


def test_a_childs_exit_status_and_signal_are_reported(zygote, tmp_path):
    failed = zygote.start(command(tmp_path, "end", "3"))
    assert _next_end(zygote) == (failed, 3)
    sleeper = zygote.start(command(tmp_path, "sleep"))
    os.kill(sleeper, signal.SIGKILL)
    assert _next_end(zygote) == (sleeper, -9)


def test_children_have_default_signals_and_a_group_of_their_own(zygote, tmp_path):
    sleeper = zygote.start(command(tmp_path, "sleep"))
    _wait_for_journal(tmp_path)
    assert os.getpgid(sleeper) == sleeper
    os.kill(sleeper, signal.SIGINT)
    assert zygote.ended.get(timeout=WAIT_S).status not in (0, None)


def test_nothing_outlives_the_harness(tmp_path):
    with ZygoteSpawner([CHILD], tmp_path / "zygote.log") as zygote:
        sleeper = zygote.start(command(tmp_path, "sleep"))
        _wait_for_journal(tmp_path)
    wait_until(lambda: is_gone(sleeper))


def test_the_journal_survives_kill_9_and_leaves_out_half_a_line(zygote, tmp_path):
    sleeper = zygote.start(command(tmp_path, "sleep"))
    reader = _wait_for_journal(tmp_path)
    os.kill(sleeper, signal.SIGKILL)
    zygote.ended.get(timeout=WAIT_S)
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("run 5 1.0\nrun 6 1")
    assert [(entry.what, entry.number) for entry in reader.read()] == [("ready", -1), ("run", 5)]
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write(".5\n")
    assert reader.read()[-1].at_s == 1.5


def test_what_threads_read_of_a_journal_is_neither_doubled_nor_left_out(tmp_path):
    # given
    path = tmp_path / JOURNAL
    journal, reader = Journal(path), JournalReader(path)
    # when it is read by four threads while it is written
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(lambda: [reader.read() for _ in range(200)]) for _ in range(4)]
        for number in range(2000):
            journal.write("run", number)
        for done in reading:
            done.result()
    # then
    assert [entry.number for entry in reader.read()] == list(range(2000))


def _next_end(zygote):
    ended = zygote.ended.get(timeout=WAIT_S)
    return ended.pid, ended.status


def _wait_for_journal(folder):
    reader = JournalReader(folder / JOURNAL)
    wait_until(reader.read)
    return reader
