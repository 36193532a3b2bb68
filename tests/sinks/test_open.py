from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest
from support.webhook_receiver import SECRET

from clip_worker.errors import InvalidRequestError
from clip_worker.sinks import open as opening
from clip_worker.sinks.jsonl import JsonlSink
from clip_worker.sinks.open import SECRET_VARIABLE, open_sink
from clip_worker.sinks.parquet import ParquetSink
from clip_worker.sinks.sidecars import SidecarSink
from clip_worker.sinks.sql import SqlSink
from clip_worker.sinks.webhook import WebhookSink
from clip_worker.sinks.xmp_sidecar import XmpSidecar


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


def test_keywords_may_have_another_threshold() -> None:
    sink = open_sink("sidecars:xmp?threshold=0.25")
    assert isinstance(sink, SidecarSink)
    assert isinstance(sink._sidecar, XmpSidecar)
    assert sink._sidecar._threshold == 0.25


@pytest.mark.parametrize("query", ["", "threshold", "threshold=nan", "threshold=2", "bound=0.3"])
def test_a_threshold_that_is_none_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"write sidecars:xmp\?threshold"):
        open_sink(f"sidecars:xmp?{query}")


def test_a_webhooks_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert isinstance(open_sink("https://example.com/hook"), WebhookSink)
