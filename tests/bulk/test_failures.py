"""Failures of a bulk run: in a file of their own, and sent again on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.bulk_runs import AnsweringWorkers, ListFeed, ListSink, item

from clip_worker.bulk.progress import Progress
from clip_worker.errors import (
    ImageUnavailableError,
    ServiceError,
    TemporaryError,
)
from clip_worker.feeds.item import Item

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
