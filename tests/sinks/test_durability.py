"""What is durable at a commit, and in which order: from the calls to the system."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sink_rows import row

from clip_worker.errors import ServiceError
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.parquet import ParquetSink
from clip_worker.sinks.sidecars import JsonSidecar, SidecarSink
from clip_worker.sinks.sql import SqlSink

EXTRA = 3  # https://www.sqlite.org/pragma.html#pragma_synchronous


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files and folders that are synced or renamed, in order."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(file: int) -> None:
        calls.append(f"sync {Path(f'/proc/self/fd/{file}').resolve().name}")
        fsync(file)

    def noted_replace(path: Path, target: Path) -> Path:
        calls.append(f"rename {path.name} to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return calls


def test_a_new_file_of_lines_is_durable_with_its_name(tmp_path: Path, calls: list[str]) -> None:
    sink = JsonlSink(tmp_path / "r.jsonl")
    sink.open(None)
    assert calls == ["sync r.jsonl", f"sync {tmp_path.name}"]
    sink.write([row(1)])
    sink.commit()
    assert calls[2:] == ["sync r.jsonl"]
    sink.close()


def test_a_part_is_durable_before_it_has_its_name_and_its_lines_are_removed(
    tmp_path: Path, calls: list[str]
) -> None:
    sink = ParquetSink(tmp_path / "r.parquet", part_bytes=1)
    sink.open(None)
    sink.write([row(1)])
    calls.clear()
    sink.commit()
    sink.close()

    (part,) = (tmp_path / "r.parquet").iterdir()
    assert calls == [
        f"sync _{part.stem}.jsonl",
        f"sync _{part.name}.tmp",
        f"rename _{part.name}.tmp to {part.name}",
        "sync r.parquet",
    ]


def test_a_sidecar_is_durable_before_it_replaces_another(tmp_path: Path, calls: list[str]) -> None:
    sink = SidecarSink(JsonSidecar())
    sink.open(None)
    sink.write([row(1, folder=tmp_path)])
    assert calls == []
    sink.commit()
    name = "photo-000001.jpg.json"
    assert calls == [
        f"sync .{name}.new",
        f"rename .{name}.new to {name}",
        f"sync {tmp_path.name}",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: JsonlSink(folder / "r.jsonl"),
        lambda folder: ParquetSink(folder / "r.parquet"),
        lambda folder: SidecarSink(JsonSidecar()),
    ],
    ids=["jsonl", "parquet", "sidecars"],
)
def test_a_disk_that_fails_at_a_commit_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any]
) -> None:
    sink = make(tmp_path)
    sink.open(None)
    sink.write([row(1, folder=tmp_path)])

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ServiceError, match="Input/output error; name another") as caught:
            sink.commit()
    sink.close()
    assert caught.value.code == "SINK_FAILED"


def test_a_full_disk_while_a_part_is_written_leaves_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r.parquet"
    sink = ParquetSink(folder)
    sink.open(None)
    sink.write([row(1)])
    position = sink.commit()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("clip_worker.sinks.parquet_part.sync_file", fail)
        with pytest.raises(ServiceError, match="the disk is full; free some space"):
            sink.close()

    again = ParquetSink(folder)
    again.open(position)
    again.close()
    (part,) = folder.iterdir()
    assert part.name.startswith("part-")


def test_sqlite_removes_its_journal_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.dbapi2.connect

    def noted_connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3.dbapi2, "connect", noted_connect)
    sink = SqlSink(f"sqlite:///{tmp_path / 'r.db'}", "results")
    sink.open(None)
    assert opened
    for each in opened:
        assert each.execute("PRAGMA synchronous").fetchone() == (EXTRA,)
    sink.close()
