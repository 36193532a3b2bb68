"""Failures of a bulk run: in a file of their own, and sent again on demand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.bulk_runs import AnsweringWorkers, ListFeed, ListSink, item

from clip_worker.bulk.progress import Progress
from clip_worker.contract.results import Failure, Outcome
from clip_worker.errors import (
    ImageUnavailableError,
    ServiceError,
    TemporaryError,
)
from clip_worker.feeds.item import Item
from clip_worker.sinks.row import Row

KEYS = [str(number) for number in range(25)]


def test_failures_are_in_their_own_file_and_not_in_the_sink(
    classify: Any, sink: ListSink, workers: AnsweringWorkers, failures: Path
) -> None:
    # given
    workers.fails = lambda uri: (
        ImageUnavailableError("There is none.", "FETCH_404") if "/7.jpg" in uri else None
    )
    # when
    seen: list[Progress] = []
    assert classify(ListFeed(25), on_progress=seen.append)
    # then
    assert "7" not in sink.keys
    assert len(sink.keys) == 24
    [line] = failures.read_text().splitlines()
    record = json.loads(line)
    assert record["key"] == "7"
    assert (record["code"], record["message"]) == ("FETCH_404", "There is none.")
    assert (seen[-1].done, seen[-1].failed, dict(seen[-1].codes)) == (24, 1, {"FETCH_404": 1})


def test_failures_that_may_pass_are_sent_again_and_leave_the_file(
    classify: Any, sink: ListSink, workers: AnsweringWorkers, failures: Path
) -> None:
    # given
    errors = {
        "https://example.com/7.jpg": ImageUnavailableError("There is none.", "FETCH_404"),
        "https://example.com/8.jpg": TemporaryError("Not now.", "FETCH_503"),
        "https://example.com/9.jpg": ServiceError("A full disk."),
    }
    workers.fails = errors.get
    classify(ListFeed(25))
    # when
    workers.fails = lambda _uri: None
    workers.images.clear()
    assert classify(retry="passing")
    # then
    assert sorted(workers.images) == [*errors][1:]
    assert len(sink.keys) == 24
    [line] = failures.read_text().splitlines()
    assert json.loads(line)["code"] == "FETCH_404"
    # when
    assert classify(retry="all")
    # then
    assert sorted(sink.keys, key=int) == KEYS
    assert not failures.exists()


def test_a_failure_that_fails_again_is_sent_once_per_retry(
    classify: Any, workers: AnsweringWorkers, failures: Path
) -> None:
    # given
    workers.fails = lambda _uri: TemporaryError("Not now.", "FETCH_503")
    classify(ListFeed(3))
    # when
    classify(retry="passing", in_flight=1, commit_s=0.0)
    # then
    assert len(workers.images) == 6
    assert len(failures.read_text().splitlines()) == 3


def test_an_invalid_uri_fails_alone(classify: Any, sink: ListSink, failures: Path) -> None:
    # given
    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            yield item(0)
            yield Item("1", "not a URI", position="1")
            yield item(2)

    # when
    classify(Feed(3))
    # then
    assert sorted(sink.keys) == ["0", "2"]
    [line] = failures.read_text().splitlines()
    assert json.loads(line)["code"] == "BAD_URI"
    assert "Request" not in json.loads(line)["message"]


def test_a_path_that_is_too_long_fails_alone(
    classify: Any, sink: ListSink, failures: Path, tmp_path: Path
) -> None:
    # given
    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            yield item(0)
            yield Item("1", "x.jpg", tmp_path / ("x" * 300), position="1")

    # when
    classify(Feed(2))
    # then
    assert sink.keys == ["0"]
    assert "File name too long" in json.loads(failures.read_text())["message"]


def test_columns_that_json_does_not_know_are_kept_with_a_failure(
    classify: Any, sink: ListSink, failures: Path
) -> None:
    # given
    fields = {"seen": date(2026, 11, 27), "raw": b"\xff", "ratio": float("nan")}

    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            yield Item("0", "", fields=fields, position="0", fault="Row 1 is empty.")

    # when
    classify(Feed(1))
    # then
    shown = {"seen": "2026-11-27", "raw": "/w==", "ratio": None}
    assert json.loads(failures.read_text())["fields"] == shown


def test_a_row_that_the_sink_refuses_is_a_failure(
    classify: Any, sink: ListSink, failures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    error = Failure(type="ServiceError", code="SINK_FAILED", message="It is another's.")

    def write(rows: Sequence[Row]) -> Sequence[Row]:
        sink.rows += [row for row in rows if row.item.key != "7"]
        refused = Outcome(status="error", error=error)
        return [replace(row, outcome=refused) for row in rows if row.item.key == "7"]

    monkeypatch.setattr(sink, "write", write)
    # when
    seen: list[Progress] = []
    assert classify(ListFeed(25), on_progress=seen.append)
    # then
    assert (seen[-1].done, seen[-1].failed) == (24, 1)
    record = json.loads(failures.read_text())
    assert (record["key"], record["code"]) == ("7", "SINK_FAILED")
    # when
    monkeypatch.undo()
    assert classify(retry="passing")
    # then
    assert "7" in sink.keys
    assert not failures.exists()


def test_a_row_that_cannot_be_read_says_why_after_a_retry_too(
    classify: Any, workers: AnsweringWorkers, failures: Path
) -> None:
    # given
    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            yield Item("t.csv:1", "https://example.com/0.jpg", position="1", fault="Two cells.")

    classify(Feed(1))
    # when
    classify(retry="all")
    # then
    [line] = failures.read_text().splitlines()
    assert (json.loads(line)["code"], json.loads(line)["message"]) == ("BAD_ROW", "Two cells.")
    assert not workers.images


def test_the_file_of_failures_shows_no_secrets_but_file_names(
    classify: Any, workers: AnsweringWorkers, failures: Path, tmp_path: Path
) -> None:
    # given
    workers.fails = lambda _uri: ImageUnavailableError("There is none.", "FETCH_404")
    uri = "https://example.com/cat.jpg?X-Amz-Signature=0123"
    file = tmp_path / "a cat?#1.jpg"
    file.write_bytes(b"an image")

    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            yield Item(uri, uri, position="0")
            yield Item(str(file), str(file), file, position="1")

    # when
    classify(Feed(2))
    # then
    assert "0123" not in failures.read_text()
    images = [json.loads(line)["image"] for line in failures.read_text().splitlines()]
    assert images == ["https://example.com/cat.jpg?...", str(file)]
    # when
    workers.fails = lambda _uri: None
    classify(retry="all")
    # then
    assert workers.images[2] == uri


def test_files_are_uploaded_and_errors_show_their_names(
    classify: Any, sink: ListSink, workers: AnsweringWorkers, failures: Path, tmp_path: Path
) -> None:
    # given
    good, missing = tmp_path / "good.jpg", tmp_path / "missing.jpg"
    good.write_bytes(b"an image")

    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            for number, path in enumerate((good, missing)):
                yield Item(path.name, str(path), path, position=f"{number}")

    # when
    classify(Feed(2))
    # then
    assert sink.keys == ["good.jpg"]
    assert workers.images[0].startswith("redis://uploads/")
    [line] = failures.read_text().splitlines()
    assert missing.name in json.loads(line)["message"]
