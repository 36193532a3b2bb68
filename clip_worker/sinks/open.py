"""Makes the sink that `--to` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri
from clip_worker.sinks.jsonl import JsonlSink

if TYPE_CHECKING:
    from clip_worker.sinks.sink import Sink

BAD_SINK = "BAD_SINK"


def open_sink(target: str) -> Sink:
    """The sink that a target names. Nothing is written before its `open` is called.

    Args:
        target: `results.jsonl`.

    Raises:
        InvalidRequestError: `BAD_SINK`: it names none.
    """
    if target.endswith(".jsonl") and "://" not in target:
        return JsonlSink(Path(target))
    raise InvalidRequestError(
        f"{shown_uri(target)} names no place for results; give a file such as results.jsonl.",
        BAD_SINK,
    )
