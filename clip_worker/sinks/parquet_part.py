"""Part files of Parquet: made from JSON lines, and cut to fewer rows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import to_json

from clip_worker.sinks.durable import sync_file, sync_folder

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 5000  # of a row group; as many are in memory

_FIELDS, _ENDED_AT = ',"fields":', ',"ended_at":'


def write_part(lines: Path, part: Path) -> None:
    """Write the records of a file of JSON lines as a part file, durably and in one step.

    Raises:
        OSError: It can't be written.
    """
    with lines.open(encoding="utf-8") as file:
        _write(part, _tables(file))


def cut_part(part: Path, rows: int) -> bool:
    """Cut a part file to its first rows; False if it has fewer, or is not Parquet.

    Raises:
        OSError: It can't be read or written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(part).num_rows
    except pa.ArrowInvalid:
        return False
    if found > rows > 0:
        _write(part, [pq.read_table(part, partitioning=None).slice(0, rows)])
    elif found > rows:
        part.unlink()
        sync_folder(part.parent)
    return bool(found >= rows)


def _tables(file: Iterable[str]) -> Iterator[pa.Table]:
    from pyarrow import json

    lines, schema = iter(file), _schema()
    parsing = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    while some := [*islice(lines, GROUP_ROWS)]:
        data = "".join(map(_with_fields_as_text, some)).encode()
        reading = json.ReadOptions(use_threads=False, block_size=len(data))
        yield json.read_json(io.BytesIO(data), reading, parsing)


def _with_fields_as_text(line: str) -> str:
    """A record in which the input's columns are JSON in a text: not each row need have the same.

    `fields` and `ended_at` are the last two keys of a record, and inside a text neither could be
    found, for its quotation marks are escaped.
    """
    begin, end = line.index(_FIELDS) + len(_FIELDS), line.rindex(_ENDED_AT)
    return f"{line[:begin]}{to_json(line[begin:end]).decode()}{line[end:]}"


def _write(part: Path, tables: Iterable[pa.Table]) -> None:
    import pyarrow.parquet as pq

    temporary = part.with_name(f"_{part.name}.tmp")  # readers ignore what begins with _
    with pq.ParquetWriter(temporary, _schema(), compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    sync_file(temporary)
    temporary.replace(part)
    sync_folder(part.parent)


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    prediction = pa.struct(
        [("label", text), ("probability", number), ("index", pa.int32()), ("score", number)]
    )
    return pa.schema([
        ("key", text),
        ("image", text),
        ("status", text),
        ("label", text),
        ("probability", number),
        ("predictions", pa.list_(prediction)),
        ("none_of_these", number),
        ("label_set", pa.struct([("name", text), ("version", text), ("calibration", text)])),
        ("levels", pa.list_(pa.list_(prediction))),
        ("model", text),
        ("model_digest", text),
        ("embedding", pa.list_(pa.float32())),
        ("error", pa.struct([("type", text), ("code", text), ("message", text)])),
        ("fields", text),
        ("ended_at", pa.timestamp("us", tz="UTC")),
    ])  # fmt: skip
