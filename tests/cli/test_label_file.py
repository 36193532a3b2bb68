"""Files of labels: text, CSV and JSON, as people's programs write them."""

from __future__ import annotations

import json

import pytest

from worker.cli.csv_file import read_rows
from worker.cli.label_file import read_label_file
from worker.cli.output.usage_error import WrongInputError

BOM = "\ufeff"


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads its labels, with their lines."""

    def read(content: str | bytes, name: str = "labels.txt"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [(line.line, line.label) for line in read_label_file(file)]

    return read


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", BOM])
def test_a_text_file_has_a_label_a_line_and_comments(read, end, mark):
    lines = [mark + "cat", "", "  dog, big ", "# a comment", "#", "## more", "#sunset", '"x"']

    assert read(end.join(lines)) == [(1, "cat"), (3, "dog, big"), (7, "#sunset"), (8, '"x"')]


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\ndog\n", [(1, "cat"), (2, "dog")]),
        (BOM + "Label\r\ncat\r\n\r\ndog\r\n", [(2, "cat"), (4, "dog")]),
        ('"cat, black"\n"say ""hi"""\n', [(1, "cat, black"), (2, 'say "hi"')]),
        ('label\n"two\nlines"\ndog\n', [(2, "two\nlines"), (4, "dog")]),
        ("id;labels;note\n1;cat;x\n2; dog, big ;y\n3\n", [(2, "cat"), (3, "dog, big"), (4, "")]),
        ("label\tid\ncat\t1\n", [(2, "cat")]),
        ('label\n""\ncat\n', [(2, ""), (3, "cat")]),
    ],
)
def test_a_csv_file_has_one_column_or_one_that_is_named_label(read, content, labels):
    assert read(content, "labels.csv") == labels


@pytest.mark.parametrize("name", ["labels.json", "labels.txt"])
def test_a_json_list_is_read_with_its_lines(read, name):
    assert read('\n["cat",\n "dog, big", ""\n,\n"a \\"b\\""]', name) == [
        (2, "cat"),
        (3, "dog, big"),
        (3, ""),
        (5, 'a "b"'),
    ]


def test_a_json_object_with_labels_is_read(read):
    stored = {"version": "1", "other": {"labels": [1]}, "labels": ["cat", "dog"]}

    assert read(json.dumps(stored, indent=1)) == [(9, "cat"), (10, "dog")]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.txt", "\n# nothing\n", "has no labels; write one per line"),
        ("a.csv", "", "has no labels"),
        ("a.csv", "label\n", "has no labels"),
        ("a.txt", "cat\ngr\u00fcn\n".encode("latin-1"), "is not UTF-8 text (in line 2)"),
        ("a.txt", "cat\ndog\n".encode("utf-16"), "is not UTF-8 text (in line 1)"),
        ("a.csv", "cat\ngr\u00fcn\n".encode("latin-1"), "is not UTF-8 text"),
        ("a.csv", "cat,1\ndog,2\n", "line 1, has 2 columns; give a first line that names"),
        ("a.csv", "cat\nfish, tropical\n", "line 2, has 2 columns"),
        ("a.csv", 'cat\n"dog\nbird\n', "line 2, is not valid CSV: unexpected end of data"),
        ("a.json", '["cat", 1]', "line 1: 1 is not a string"),
        ("a.json", '["cat"', "is not valid JSON: Expecting ',' delimiter"),
        ("a.json", '{"names": ["cat"]}', "is JSON without a list of labels"),
        ("a.json", "[" * 100_000, "JSON"),
        ("a.txt", "\n".join(map(str, range(100_001))), "has 100,001 labels; a request may have"),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_refused(read, name, content, error):
    with pytest.raises(WrongInputError) as caught:
        read(content, name)

    assert error in caught.value.message
    assert "\n" not in caught.value.message


def test_a_table_is_read_row_by_row(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("image,label\n" + "a.png,cat\n" * 3 + 'b.png,"dog\n')

    rows = read_rows(file)

    assert [next(rows).line for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(WrongInputError, match="line 5, is not valid CSV"):
        next(rows)
