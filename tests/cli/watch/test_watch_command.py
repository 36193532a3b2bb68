"""`clip-worker watch` without workers: what it refuses, and how it is stopped."""

from __future__ import annotations

import os
import signal

import pytest

from clip_worker.bulk.journal import Journal
from clip_worker.bulk.supply import ArrivalSupply, FailedSupply
from clip_worker.feeds.folder_arrivals import FolderArrivals
from worker.cli.entry import run
from worker.cli.stop_signals import stopping
from worker.cli.watch.command import _supplies, journal_path


def watch(*arguments: object) -> int:
    return run(["watch", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/no/such/folder", "--to", "r.jsonl", "--labels", "a"), "there is no such folder"),
        ((".", "--to", "r.jsonl"), "There are no labels"),
        ((".", "--labels", "a"), "Missing option '--to'"),
        ((".", "--to", "", "--labels", "a"), "'' names no place for results"),
        ((".", "--to", "r.jsonl", "--labels", "a", "--tenant", "a b"), "'a b' does not name a ten"),
        (("webhook://0.0.0.0:1/", "--to", "r.jsonl", "--labels", "a"), "CLIP_WORKER_WATCH_SECRET"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    assert watch(*arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_none_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert watch(tmp_path, "--to", "ftp://host/", "--labels", "a") == 2
    assert list(tmp_path.iterdir()) == []


def test_without_redis_it_says_so(capsys, tmp_path):
    arguments = (tmp_path, "--to", tmp_path / "r.jsonl", "--labels", "a")

    assert watch(*arguments, "--redis-url", "redis://127.0.0.1:1/0") == 1
    assert "Redis at redis://127.0.0.1:1/0 can't be used" in capsys.readouterr().err


def test_a_journal_lies_beside_a_file_and_otherwise_has_a_name_of_its_own(tmp_path, monkeypatch):
    assert str(journal_path("in", "out/r.jsonl")) == "out/r.jsonl.journal"
    assert str(journal_path("in", "out/parquet/")) == "out/parquet.journal"
    database = journal_path("in", "postgresql://me:secret@host/db")
    assert "secret" not in str(database)
    assert database != journal_path("other", "postgresql://me:secret@host/db")
    assert database == journal_path(str(tmp_path.cwd() / "in"), "postgresql://me:other@host/db")
    lists = [f"redis://:{word}@host/0?list={key}" for word in ("old", "new") for key in ("a", "b")]
    assert len({journal_path(place, "sqlite:///r.db") for place in lists}) == 2


def test_the_first_signal_stops_in_order_and_the_second_one_now():
    stopped = []
    before = signal.getsignal(signal.SIGTERM)

    def interrupted_twice() -> None:
        with stopping(lambda: stopped.append(True)):
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped == [True]
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()

    assert signal.getsignal(signal.SIGTERM) == before


def test_what_has_failed_is_sent_again_before_what_arrives(tmp_path):
    arrivals = FolderArrivals(tmp_path)
    with Journal(tmp_path / "journal", {}) as journal:
        usual = list(_supplies(arrivals, journal, retry_failed=False))
        again = list(_supplies(arrivals, journal, retry_failed=True))

    assert [type(each) for each in usual] == [ArrivalSupply]
    assert [type(each) for each in again] == [FailedSupply, ArrivalSupply]
