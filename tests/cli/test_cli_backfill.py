"""`clip-worker classify --from`: its arguments, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from support.bulk_runs import AnsweringWorkers

from clip_worker.bulk.run import BulkRun
from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.cli.classify.backfill_options import _stem
from worker.cli.entry import run

Backfill = Callable[..., tuple[int, str]]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringWorkers]:
    """Workers on a thread, of all clients that the command opens."""
    redis = fakeredis.FakeRedis()
    workers = AnsweringWorkers(redis)
    monkeypatch.setattr("clip_worker.client.parts.connect", lambda *_, **__: redis)
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.005):
            workers()

    thread = threading.Thread(target=work)
    thread.start()
    yield workers
    is_over.set()
    thread.join()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of 30 images in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pets.csv"
    lines = [f"{number},https://example.com/{number}.jpg\n" for number in range(30)]
    path.write_text("id,url\n" + "".join(lines))
    return path


@pytest.fixture
def backfill(capsys: pytest.CaptureFixture[str]) -> Backfill:
    """Runs the command; its exit status and what it has printed on stderr."""

    def backfill(*arguments: str, source: str = "pets.csv", labels: str = "cat,dog") -> Any:
        to = ("--from", source, "--to", "out.jsonl", "--labels", labels)
        status = run(["classify", *to, *arguments])
        return status, capsys.readouterr().err

    return backfill


@pytest.fixture
def ctrl_c(workers: AnsweringWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C while the first images are worked on, and five are in flight at most."""
    monkeypatch.setitem(BulkRun.__init__.__kwdefaults__ or {}, "in_flight", 5)

    def interrupt(_uri: str) -> None:
        workers.fails = lambda _uri: None
        os.kill(os.getpid(), signal.SIGINT)

    workers.fails = interrupt


def rows(name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


@pytest.mark.usefixtures("workers", "table")
def test_all_images_of_a_table_get_a_row_with_its_other_columns(backfill: Backfill) -> None:
    # when
    status, printed = backfill()
    # then
    assert status == 0
    assert "clip-worker: 30 images have results in 'out.jsonl'." in printed
    assert {row["key"] for row in rows()} == {f"pets.csv:{number}" for number in range(1, 31)}
    assert all(row["image"].endswith(f"/{row['fields']['id']}.jpg") for row in rows())
    assert not Path("pets.csv.failures.jsonl").exists()


@pytest.mark.usefixtures("table")
def test_a_run_that_is_done_is_not_done_again(
    backfill: Backfill, workers: AnsweringWorkers
) -> None:
    backfill()
    status, printed = backfill()
    assert (status, len(workers.images), len(rows())) == (0, 30, 30)
    assert "The run of 'pets.csv.journal' is complete (to begin again, delete it" in printed


@pytest.mark.usefixtures("workers")
def test_a_command_that_named_the_wrong_column_can_be_corrected(
    backfill: Backfill, table: Path
) -> None:
    # given
    table.write_text(table.read_text().replace("url", "photo"))
    status, printed = backfill()
    assert (status, "name one of its columns with --image-column: 'id, photo'" in printed) == (2, 1)
    # when
    status, printed = backfill("--image-column", "photo")
    # then
    assert (status, len(rows())) == (0, 30), printed


@pytest.mark.usefixtures("workers", "table")
def test_a_folder_without_images_is_read_again_when_it_has_some(
    backfill: Backfill, tmp_path: Path
) -> None:
    # given
    (tmp_path / "in").mkdir()
    status, printed = backfill(source="in")
    assert (status, printed) == (0, "clip-worker: There are no images in 'in'; nothing was done.\n")
    # when
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    status, printed = backfill(source="in")
    # then
    assert (status, printed) == (0, "clip-worker: 1 image has results in 'out.jsonl'.\n")


@pytest.mark.usefixtures("table")
def test_failures_are_counted_by_code_and_sent_again_on_demand(
    backfill: Backfill, workers: AnsweringWorkers
) -> None:
    # given
    workers.fails = {
        "https://example.com/3.jpg": ImageUnavailableError("There is none.", "FETCH_404"),
        "https://example.com/4.jpg": TemporaryError("Not now.", "FETCH_503"),
        "https://example.com/5.jpg": TemporaryError("Not now.", "FETCH_503"),
    }.get
    # when
    status, printed = backfill()
    # then
    assert status == 1
    assert "3 images failed (2 FETCH_503, 1 FETCH_404); 'pets.csv.failures.jsonl'" in printed
    assert len(rows("pets.csv.failures.jsonl")) == 3
    # when
    workers.fails = lambda _uri: None
    status, printed = backfill("--retry-failed")
    # then
    assert status == 1
    assert "1 image failed (1 FETCH_404)" in printed
    assert [row["code"] for row in rows("pets.csv.failures.jsonl")] == ["FETCH_404"]
    # when
    status, _ = backfill("--retry-failed", "all")
    # then
    assert (status, len(rows())) == (0, 30)


@pytest.mark.usefixtures("table", "ctrl_c")
def test_ctrl_c_ends_in_order_and_the_same_command_continues(
    backfill: Backfill, workers: AnsweringWorkers
) -> None:
    # given
    before = signal.getsignal(signal.SIGINT)
    # when
    status, printed = backfill()
    # then what was in flight is done
    assert status == 130
    assert "Stopping: waiting for" in printed
    assert "Run the same command again to continue." in printed
    assert len(rows()) == len(workers.images)
    assert signal.getsignal(signal.SIGINT) is before
    # when
    status, _ = backfill()
    # then
    assert (status, len({row["key"] for row in rows()}), len(rows())) == (0, 30, 30)


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": "cat,bird"}, "was begun with labels ['cat', 'dog'], and now it is"),
        ({"k": "1"}, "was begun with k 5, and now it is 1;"),
        ({"table": "https://example.com/31.jpg"}, "was begun with an input of '"),
    ],
)
def test_a_changed_table_or_option_is_refused(
    backfill: Backfill, table: Path, change: dict[str, str], message: str
) -> None:
    # given
    backfill()
    # when
    if "table" in change:
        table.write_text(table.read_text() + f"31,{change['table']}\n")
    more = ("-k", change["k"]) if "k" in change else ()
    status, printed = backfill(*more, labels=change.get("labels", "cat,dog"))
    # then
    assert status == 2
    assert message in printed
    assert len(rows()) == 30


@pytest.mark.usefixtures("table", "ctrl_c")
def test_a_run_may_be_continued_for_another_tenant(
    backfill: Backfill, workers: AnsweringWorkers
) -> None:
    # given a run that was stopped
    assert backfill("--tenant", "shop:7")[0] == 130
    before = len(workers.images)
    assert workers.tenants == ["shop:7"] * before
    # when
    status, printed = backfill("--tenant", "shop:8")
    # then it continues, for a tenant changes no answer
    assert f"Continuing 'pets.csv.journal': {before} images have results." in printed
    assert (status, len({row["key"] for row in rows()}), len(rows())) == (0, 30, 30)
    assert workers.tenants[before:] == ["shop:8"] * (30 - before)


@pytest.mark.usefixtures("workers", "table")
def test_another_journal_begins_another_run(backfill: Backfill) -> None:
    backfill()
    Path("out.jsonl").rename("first.jsonl")
    status, _ = backfill("--journal", "second.journal", labels="cat,bird")
    assert (status, len(rows())) == (0, 30)


@pytest.mark.usefixtures("workers", "table")
def test_files_below_a_folder_are_uploaded(backfill: Backfill, tmp_path: Path) -> None:
    # given
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.png"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    # when
    status, _ = backfill(source="in")
    # then
    assert status == 0
    assert {row["image"] for row in rows()} == {"in/a.jpg", "in/deep/b.png"}


@pytest.mark.usefixtures("workers")
def test_a_folder_is_continued_as_it_was_named_only(
    backfill: Backfill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    (tmp_path / "pets" / "in").mkdir(parents=True)
    (tmp_path / "pets" / "in" / "a.jpg").write_bytes(b"an image")
    monkeypatch.chdir(tmp_path / "pets")
    journal = ("--journal", str(tmp_path / "journal"))
    assert backfill(*journal, source="in")[0] == 0
    # when it is named in another way
    status, printed = backfill(*journal, source=str(tmp_path / "pets" / "in"))
    # then its images would have other keys
    assert status == 2
    assert "was begun with --from 'in', and now it is" in printed
    # when the same name is another folder's
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    status, printed = backfill(*journal, source="in")
    # then
    assert status == 2
    assert "was begun with the current folder '" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There are no images; give files, folders, globs or URLs, or a table with --from."),
        (["a.jpg", "--to", "out.jsonl"], "--to needs --from"),
        (["a.jpg", "--retry-failed"], "--retry-failed needs --from"),
        (["--from", "pets.csv"], "--from needs --to"),
        (["--from", "pets.csv", "--to", "out.jsonl", "a.jpg"], "so leave out 'a.jpg'"),
        (["--from", "pets.csv", "--to", "out.jsonl", "--json"], "so leave out --json"),
        (["--from", "missing.csv", "--to", "out.jsonl"], "'missing.csv' is not there"),
        (["a.jpg", "--tenant", "Müller"], "'Müller' does not name a tenant; give 1 to 64 letters"),
        (["a.jpg", "--tenant", ""], "'' does not name a tenant"),
        (["--from", "pets.csv", "--to", "out.doc"], "'out.doc' names no place for results"),
    ],
)
@pytest.mark.usefixtures("workers", "table")
def test_arguments_that_do_not_fit_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify", *arguments, "--labels", "cat,dog"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("data/products.csv", "products.csv"),
        ("s3://pets/2026/11/", "pets-2026-11"),
        (".", "images"),
        ("in/**/*.jpg", "in.jpg"),
    ],
)
def test_the_journal_is_named_after_the_place(source: str, stem: str) -> None:
    assert _stem(source) == stem
