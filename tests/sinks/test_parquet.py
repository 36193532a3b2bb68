from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from support.fake_clock import FakeClock
from support.sink_rows import failed_row, row

from clip_worker.errors import ServiceError
from clip_worker.sinks.parquet import ParquetSink

LIBRARIES = ["pyarrow.parquet", "pandas"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results.parquet"


def begun(folder: Path, **options: Any) -> ParquetSink:
    sink = ParquetSink(folder, **options)
    sink.open(None)
    return sink


def keys(folder: Path) -> list[str]:
    return list(pd.read_parquet(folder)["key"]) if any(folder.glob("*.parquet")) else []


def key(number: int) -> str:
    return f"photo-{number:06}.jpg"


def test_pyarrow_pandas_and_duckdb_read_the_folder_as_one_table(folder: Path) -> None:
    sink = begun(folder, part_bytes=1)
    sink.write([row(0, embedding=(0.5, 0.25)), row(1, none_of_these=0.5)])
    sink.commit()
    sink.write([failed_row(2)])
    sink.commit()
    sink.close()

    assert len(list(folder.glob("*.parquet"))) == len(list(folder.iterdir())) == 2
    rows = ds.dataset(folder).to_table().to_pylist()
    assert [each["key"] for each in rows] == [key(0), key(1), key(2)] == keys(folder)
    first, second, third = rows
    assert first["predictions"][1] == {
        "label": "dog", "probability": 0.25, "index": 1, "score": None
    }  # fmt: skip
    assert first["embedding"] == [0.5, 0.25]
    assert first["ended_at"] == datetime(2025, 11, 27, 17, 12, 12, 250_000, UTC)
    assert (first["fields"], second["none_of_these"]) == ('{"number":0}', 0.5)
    assert third["error"]["code"] == "FETCH_404"
    query = f"select predictions[1].label from read_parquet('{folder}/*.parquet') order by key"
    assert duckdb.connect().execute(query).fetchall() == [("cat",), ("cat",), (None,)]


def test_lines_wait_for_their_part_and_readers_ignore_them(folder: Path) -> None:
    clock = FakeClock()
    sink = begun(folder, part_s=300, clock=clock)
    sink.write([row(0)])
    sink.commit()
    assert ds.dataset(folder).count_rows() == 0

    clock.now_s = 300
    sink.write([row(1)])
    sink.commit()
    assert keys(folder) == [key(0), key(1)]
    sink.close()


def test_rows_after_the_commit_are_not_in_the_data_set(folder: Path) -> None:
    sink = begun(folder)
    sink.write([row(0)])
    position = sink.commit()
    sink.write([row(1)])
    sink.close()
    assert keys(folder) == []

    again = ParquetSink(folder)
    again.open(position)
    again.write([row(2)])
    again.commit()
    again.close()
    assert keys(folder) == [key(0), key(2)]


def test_a_part_is_cut_where_the_journal_missed_the_last_commits(folder: Path) -> None:
    sink = begun(folder, part_bytes=2500)
    positions = [sink.commit()]
    for number in range(12):
        sink.write([row(number)])
        positions.append(sink.commit())
    sink.close()

    for done, position in reversed(list(enumerate(positions))):
        again = ParquetSink(folder)
        again.open(position)
        again.commit()
        again.close()
        assert keys(folder) == [key(number) for number in range(done)]


def test_a_run_that_has_ended_is_continued_in_a_new_part(folder: Path) -> None:
    sink = begun(folder)
    sink.write([row(0)])
    position = sink.commit()
    sink.close()
    for number in (1, 2):
        sink.open(position)
        sink.write([row(number)])
        position = sink.commit()
        sink.close()

    assert keys(folder) == [key(0), key(1), key(2)]
    assert len(list(folder.iterdir())) == 3


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.parquet").touch()
    with pytest.raises(ServiceError, match="has files that are not of this run"):
        begun(folder)


def test_a_file_in_the_place_of_the_folder_is_left_alone(folder: Path) -> None:
    folder.write_text("mine")
    with pytest.raises(ServiceError, match="it is a file and not a folder"):
        begun(folder)
    assert folder.read_text() == "mine"


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda folder: None])
def test_a_part_that_is_gone_or_damaged_is_one_sentence(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    sink = begun(folder)
    sink.write([row(0)])
    position = sink.commit()
    sink.close()
    for part in folder.iterdir():
        part.write_bytes(b"PAR1")
    damage(folder)

    with pytest.raises(ServiceError, match="was changed or removed") as caught:
        ParquetSink(folder).open(position)
    assert caught.value.code == "SINK_FAILED"


def test_a_missing_parent_is_one_sentence(folder: Path) -> None:
    with pytest.raises(ServiceError, match="does not exist"):
        begun(folder / "a" / "b")


def test_a_part_has_row_groups_of_bounded_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_worker.sinks.parquet_part.GROUP_ROWS", 4)
    sink = begun(folder)
    sink.write([row(number) for number in range(10)])
    sink.commit()
    sink.close()
    (part,) = folder.iterdir()
    assert pq.ParquetFile(part).num_row_groups == 3
    assert keys(folder) == [key(number) for number in range(10)]


@pytest.mark.slow
def test_each_row_is_there_once_after_fifty_kills(
    folder: Path, killed_runs: Callable[..., int]
) -> None:
    total = killed_runs(str(folder), part_bytes=20_000, most_calls=40_000, preload=LIBRARIES)
    assert keys(folder) == [key(number) for number in range(total)]
    parts = [path.name.startswith("part-") for path in folder.iterdir()]
    assert all(parts)
    assert len(parts) > 3
