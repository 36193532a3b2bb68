from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest

from clip_worker.errors import InvalidRequestError
from clip_worker.sinks import open as opening
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.open import open_sink
from clip_worker.sinks.parquet import ParquetSink
from clip_worker.sinks.sql import SqlSink


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("results.jsonl", JsonlSink),
        ("a/b.jsonl", JsonlSink),
        ("results.parquet", ParquetSink),
        ("results/", ParquetSink),
        ("sqlite:///results.db", SqlSink),
        ("postgresql://me@host/db", SqlSink),
        ("postgres://me@host/db", SqlSink),
    ],
)
def test_a_target_names_its_sink(target: str, kind: type) -> None:
    assert isinstance(open_sink(target), kind)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "results",
        "results.csv",
        "s3://bucket/r.parquet",
        "sidecars:tiff",
        "mysql://a:hidden@b/c",
    ],
)
def test_other_targets_are_refused_with_those_that_there_are(target: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"names no place.*sidecars:xmp") as caught:
        open_sink(target)
    assert caught.value.code == "BAD_SINK"
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("target", "extra"),
    [("r.parquet", "parquet"), ("sqlite:///r.db", "sql"), ("sidecars:xmp", "xmp")],
)
def test_what_is_not_installed_is_named_with_its_extra(
    target: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(opening, "find_spec", nothing)
    with pytest.raises(InvalidRequestError, match=rf"clip-worker\[{extra}\]"):
        open_sink(target)
