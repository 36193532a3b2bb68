"""Tables and lists of images: what their rows become, and that reading continues anywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.feeds.feed import Feed
from clip_worker.feeds.item import Item
from clip_worker.feeds.open_feed import open_feed, version_of
from clip_worker.feeds.parquet_feed import ParquetFeed

ROWS: list[dict[str, Any]] = [
    {"id": f"{number}", "url": f"https://example.com/{number}.jpg", "note": f'a "{number}",\nü'}
    for number in range(25)
]


def write_csv(path: Path, *, end: str = "\n", mark: str = "", delimiter: str = ",") -> None:
    cells = [[*ROWS[0]], *([*row.values()] for row in ROWS)]
    quoted = (delimiter.join('"' + c.replace('"', '""') + '"' for c in line) for line in cells)
    path.write_text(mark + end.join(quoted) + end, newline="")


def write_parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=4)


WRITERS: Mapping[str, Callable[[Path], object]] = {
    "t.csv": write_csv,
    "windows.csv": lambda path: write_csv(path, end="\r\n", mark="\ufeff", delimiter=";"),
    "t.tsv": lambda path: write_csv(path, delimiter="\t"),
    "t.jsonl": lambda path: path.write_text("\n\n".join(map(json.dumps, ROWS))),
    "t.parquet": write_parquet,
    "t.txt": lambda path: path.write_text("\n".join(row["url"] for row in ROWS)),
}


@pytest.fixture(params=WRITERS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param
    WRITERS[request.param](path)
    return path


def items(path: Path, position: str | None = None, **options: Any) -> list[Item]:
    return [*open_feed(str(path), **options).items(position)]


def test_each_row_is_an_item_with_its_other_columns(table: Path) -> None:
    found = items(table)
    assert [item.image for item in found] == [row["url"] for row in ROWS]
    assert len({item.key for item in found}) == 25
    assert all(item.key.startswith(f"{table.name}:") for item in found)
    if table.suffix != ".txt":
        assert [item.fields for item in found] == [
            {"id": row["id"], "note": row["note"]} for row in ROWS
        ]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ServiceError, match=r"clip-worker\[parquet\]") as caught:
        next(ParquetFeed(tmp_path / "t.parquet").items(None))
    assert caught.value.code == "NO_PYARROW"


def test_reading_continues_after_any_item(table: Path) -> None:
    found = items(table)
    for number, item in enumerate(found):
        assert items(table, item.position) == found[number + 1 :]


def test_the_number_of_images_is_known(table: Path) -> None:
    # empty lines between rows are counted, as they are cheaper to count than to recognise
    lines = 49 if table.suffix == ".jsonl" else 25
    assert open_feed(str(table)).total == lines


def test_a_table_that_changes_is_another_version(table: Path) -> None:
    before = version_of(str(table))
    assert version_of(str(table)) == before
    with table.open("a") as file:
        file.write("\n")
    assert version_of(str(table)) != before


def test_the_column_of_images_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("url,photo\nhttps://a.example/,https://b.example/\n")
    assert [item.image for item in items(path, column="photo")] == ["https://b.example/"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_table_without_the_column_is_refused_with_those_it_has(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    with pytest.raises(InvalidRequestError, match=r"no column 'photo'.*'id, url, note'"):
        items(tmp_path / name, column="photo")


def test_a_list_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("https://example.com/1.jpg")
    with pytest.raises(InvalidRequestError, match="leave out --image-column"):
        open_feed(str(tmp_path / "t.txt"), column="url")


def test_paths_are_those_of_files_below_the_tables_folder(tmp_path: Path) -> None:
    # given
    table = tmp_path / "in" / "t.txt"
    (table.parent / "deep").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"")
    (table.parent / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    lines = ("cat.jpg", "deep/cat.jpg", "../secret.jpg", "/etc/passwd", "link.jpg", "a\0b", ".")
    table.write_text("\n".join(lines))
    # when
    found = items(table)
    # then
    assert [item.path for item in found[:2]] == [
        table.parent / "cat.jpg",
        table.parent / "deep" / "cat.jpg",
    ]
    for item in found[2:]:
        assert item.path is None
        assert "neither a URI nor" in item.fault
    # when
    found = items(table, root=tmp_path)
    # then
    assert found[0].path == tmp_path / "cat.jpg"


def test_a_line_that_is_no_object_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = ['{"url": "https://a.example/"}', '{"url": ', "[1]", '{"url": 5}', '{"id": 1}', "{}"]
    path.write_text("\n".join(lines))
    found = items(path)
    assert found[0].fault == ""
    faults = [item.fault for item in found[1:]]
    assert faults[0].startswith("Row 2 is not valid JSON")
    assert faults[1] == "Row 3 is not a JSON object, but [1]."
    assert faults[2:] == [
        "Row 4 has no URI or path, but 5.",
        "Row 5 has no URI or path.",
        "Row 6 has no URI or path.",
    ]


def test_a_value_that_is_nested_too_deeply_to_be_written_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    deep = "[" * 300 + "]" * 300
    path.write_text(f'{{"url": "s3://a/1", "x": [[1]]}}\n{{"url": "s3://a/2", "x": {deep}}}\n')
    fine, bad = items(path)
    assert (fine.fault, fine.fields) == ("", {"x": [[1]]})
    assert (bad.fault[:18], bad.fields) == ("Row 2 has a value ", {})


def test_a_row_of_parquet_that_python_can_not_hold_fails_alone(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    buffers = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)
    for column in (texts, pa.array([1, 2**30], pa.date32())):
        table = pa.table({"url": ["s3://a/1", "s3://a/2"], "x": column})
        parquet.write_table(table, tmp_path / "t.parquet")
        fine, bad = items(tmp_path / "t.parquet")
        assert (fine.fault, fine.image) == ("", "s3://a/1")
        assert bad.fault.startswith("Row 2 can't be read: ")


def test_a_row_with_other_cells_than_columns_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,url\n1,https://a.example/\n2\n3,https://b.example/,x\n4,\n")
    assert [item.fault for item in items(path)] == [
        "",
        "Row 2 has 1 cells, and the table 2 columns.",
        "Row 3 has 3 cells, and the table 2 columns.",
        "Row 4 has no URI or path.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b'url\n"https://a.example/"x\n', "is not valid CSV before byte"),
        ("t.csv", b"url\nhttps://a.example/\xff\n", "byte 22 is not UTF-8"),
        ("t.txt", "https://a.example/ü".encode("utf-16"), "byte 0 is not UTF-8"),
        ("t.parquet", b"PAR1 or so", "check that it is a complete Parquet file"),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ServiceError, match=message) as caught:
        items(tmp_path / name)
    assert "\n" not in caught.value.message


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("url,id,id\n")
    with pytest.raises(InvalidRequestError, match="two columns 'id'"):
        items(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "'missing.csv' is not there: give a table"),
        ("notes.doc", "'notes.doc' is none of these"),
        ("https://me:secret@example.com/", r"'https://\*\*\*@example.com/' is none of these"),
        ("s3://not a bucket/", "is not the name of a bucket"),
    ],
)
def test_what_is_no_place_of_images_is_refused(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.doc").touch()
    with pytest.raises(InvalidRequestError, match=message):
        open_feed(source)


def test_a_feed_is_a_feed(table: Path) -> None:
    feed: Feed = open_feed(str(table))
    assert feed.total
