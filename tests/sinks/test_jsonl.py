from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sink_rows import failed_row, row

from clip_worker.errors import ServiceError
from clip_worker.sinks import jsonl
from clip_worker.sinks.jsonl import JsonlSink


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["fields"]["number"] for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def test_a_row_is_a_line(path: Path) -> None:
    sink = JsonlSink(path)
    sink.open(None)
    sink.write([row(1), failed_row(2)])
    sink.commit()
    sink.close()
    sink.close()

    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["label"], second["error"]["code"]) == ("cat", "FETCH_404")


def test_what_was_written_after_the_commit_is_cut_off(path: Path) -> None:
    sink = JsonlSink(path)
    sink.open(None)
    sink.write([row(1), row(2)])
    position = sink.commit()
    sink.write([row(3)])
    sink.close()
    with path.open("a") as file:
        file.write('{"half a li')

    again = JsonlSink(path)
    again.open(position)
    again.write([row(3), row(4)])
    again.commit()
    again.close()

    assert numbers(path) == [1, 2, 3, 4]


def test_a_run_that_was_killed_before_its_first_row_begins_again(path: Path) -> None:
    path.touch()
    sink = JsonlSink(path)
    sink.open(None)
    assert sink.commit().startswith("0:")
    sink.close()


@pytest.mark.parametrize("content", ["", "{}\n", "x" * 10_000])
def test_a_file_that_was_replaced_is_left_alone(path: Path, content: str) -> None:
    sink = JsonlSink(path)
    sink.open(None)
    sink.write([row(number) for number in range(20)])
    position = sink.commit()
    sink.close()
    path.write_text(content)

    with pytest.raises(ServiceError, match="was changed, replaced or removed") as caught:
        JsonlSink(path).open(position)

    assert caught.value.code == "SINK_FAILED"
    assert path.read_text() == content


def test_a_new_run_refuses_the_file_of_another(path: Path) -> None:
    path.write_text("mine\n")
    with pytest.raises(ServiceError, match="exists, with 5 bytes, and is not of this run"):
        JsonlSink(path).open(None)
    assert path.read_text() == "mine\n"


def test_two_runs_do_not_share_a_file(path: Path) -> None:
    first = JsonlSink(path)
    first.open(None)
    with pytest.raises(ServiceError, match="another run is writing to it"):
        JsonlSink(path).open(None)
    first.close()


def test_a_file_that_is_gone_is_not_made_again(path: Path) -> None:
    with pytest.raises(ServiceError, match="removed since the run's last commit; restore it"):
        JsonlSink(path).open("0:00000000")
    assert not path.exists()


def test_a_missing_folder_a_folder_and_a_device_are_refused(path: Path) -> None:
    with pytest.raises(ServiceError, match="does not exist"):
        JsonlSink(path / "results.jsonl").open(None)
    with pytest.raises(ServiceError, match="it is a folder"):
        JsonlSink(path.parent).open(None)
    os.mkfifo(path)
    with pytest.raises(ServiceError, match="not a regular file"):
        JsonlSink(path).open(None)


def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    sink = JsonlSink(Path(path.name))
    sink.open(None)
    sink.write([row(1)])

    def half(file: int, data: bytes) -> None:
        os.write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "write_all", half)
        with pytest.raises(ServiceError) as caught:
            sink.write([row(2)])
    sink.write([row(2)])
    sink.commit()
    sink.close()

    assert caught.value.message == (
        "Results can't be written to 'results.jsonl': the disk is full; free some space and run "
        "the same command again."
    )
    assert numbers(path) == [1, 2]


def test_each_row_is_there_once_after_fifty_kills(
    path: Path, killed_runs: Callable[..., int]
) -> None:
    total = killed_runs(str(path))
    assert numbers(path) == list(range(total))
