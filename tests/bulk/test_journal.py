"""The journal: whose it is, and that it belongs to one run at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from clip_worker.bulk import journal as journals
from clip_worker.bulk.digest import digest_of
from clip_worker.bulk.journal import Checkpoint, Journal
from clip_worker.bulk.watermark import Advance
from clip_worker.errors import InvalidRequestError, ServiceError

SETTINGS = {"input": "uris.txt", "labels": ["cat", "dog"], "k": 5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def test_a_journal_that_is_opened_again_has_what_was_committed(path: Path) -> None:
    # given
    failures: dict[bytes, tuple[bool, dict[str, Any]]] = {b"c": (True, {"key": "c"})}
    with Journal(path, SETTINGS) as journal:
        journal.commit(Checkpoint(Advance("1", {b"a", b"b"}), "20", [b"a", b"b"], failures))
        journal.commit(Checkpoint(Advance("2", {b"d"}, {b"a"}), "30", [b"d"]))
        run_id = journal.run_id
    # when
    with Journal(path, SETTINGS) as again:
        # then
        assert (again.run_id, again.position, again.sink_position) == (run_id, "2", "30")
        assert (again.done, again.failed) == (3, 1)
        assert again.beyond() == {b"b", b"d"}
        assert [*again.failures()] == [{"key": "c"}]


def test_an_item_that_had_failed_and_gets_its_row_is_no_failure(path: Path) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.commit(Checkpoint(Advance("1"), "0", [], {b"c": (True, {"key": "c"})}))
        journal.commit(Checkpoint(Advance(), "10", [b"c"]))
        assert (journal.done, journal.failed, [*journal.failures()]) == (1, 0, [])


def test_a_retry_with_new_task_ids_leaves_out_what_has_failed_in_it(path: Path) -> None:
    # given a retry in which one of two has failed again, when results were lost
    failed = {key: (True, {"key": key.decode()}) for key in (b"c", b"d")}
    with Journal(path, SETTINGS) as journal:
        journal.commit(Checkpoint(Advance("1"), "0", [], failed))
        journal.begin_retry()
        journal.commit(Checkpoint(Advance(), "0", [], {b"c": failed[b"c"]}))
        journal.next_round()
    # when it is continued
    with Journal(path, SETTINGS) as again:
        again.begin_retry()
        # then
        assert [*again.failures_to_retry(only_passing=True)] == [{"key": "d"}]
        # when another retry begins after it
        again.end_retry()
        again.begin_retry()
        # then
        assert len([*again.failures_to_retry(only_passing=True)]) == 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"k": 3}, "was begun with k 5, and now it is 3;"),
        ({"labels": ["cat"]}, r"was begun with labels \['cat', 'dog'\], and now it is \['cat'\];"),
        ({"score": "cosine"}, "was begun with score unset, and now it is 'cosine';"),
    ],
)
def test_another_runs_journal_is_refused(path: Path, other: dict[str, Any], message: str) -> None:
    with Journal(path, SETTINGS) as journal:
        journal.commit(Checkpoint(Advance(), "0", []))
    with pytest.raises(InvalidRequestError, match=message), Journal(path, SETTINGS | other):
        pass


def test_a_run_that_has_sent_nothing_may_begin_again_with_other_settings(path: Path) -> None:
    # given
    with Journal(path, SETTINGS | {"column": None}):
        pass
    # when
    with Journal(path, SETTINGS | {"column": "photo"}) as journal:
        journal.commit(Checkpoint(Advance(), "0", []))
    # then
    with (
        pytest.raises(InvalidRequestError, match="begun with column 'photo', and now it is unset;"),
        Journal(path, SETTINGS | {"column": None}),
    ):
        pass


def test_two_runs_cannot_use_one_journal_at_the_same_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_worker.bulk.database.LOCK_WAIT_S", 0.01)
    with (
        Journal(path, SETTINGS),
        pytest.raises(ServiceError, match="Another run uses the journal"),
        Journal(path, SETTINGS),
    ):
        pass
    with Journal(path, SETTINGS):  # it is free again
        pass


def test_a_file_that_is_no_journal_is_refused_and_stays_as_it_is(path: Path) -> None:
    path.write_text("uri,label\n" * 1000)
    with pytest.raises(InvalidRequestError, match="is not a journal"), Journal(path, SETTINGS):
        pass
    assert path.read_text() == "uri,label\n" * 1000


def test_another_programs_database_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE pictures (name TEXT)")
    database.close()
    with pytest.raises(InvalidRequestError, match="is not a journal"), Journal(path, SETTINGS):
        pass


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "run.journal"
    with pytest.raises(ServiceError, match="check its folder"), Journal(path, SETTINGS):
        pass


def test_tasks_get_new_ids_where_their_results_may_have_expired(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    with Journal(path, SETTINGS) as journal:
        before = journal.round
    # when a day has passed
    monkeypatch.setattr(journals, "STALE_S", -1.0)
    with Journal(path, SETTINGS) as journal:
        # then
        assert journal.round == before + 1


def test_the_keys_of_a_run_without_an_order_are_kept(path: Path) -> None:
    # given
    keys = [f"{number}" for number in range(1200)]
    digests = [digest_of(key) for key in keys]
    with Journal(path, SETTINGS) as journal:
        journal.commit(Checkpoint(Advance(added=digests[::2]), "0", digests[::2]))
        # then
        assert journal.has_ended(keys) == set(keys[::2])


def test_only_its_owner_may_read_a_journal(path: Path) -> None:
    with Journal(path, SETTINGS):
        assert {each.stat().st_mode & 0o777 for each in path.parent.glob("run.journal*")} == {0o600}
