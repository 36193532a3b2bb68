"""Writes the answers of stored embeddings to a sink: as JSON lines where it takes them, else rows.

A million rows as objects would take longer than a million images times a thousand labels.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from clip_worker.contract import Classification, Outcome, Timing
from clip_worker.feeds.item import Item
from clip_worker.sinks.record import clean_text
from clip_worker.sinks.row import Row
from clip_worker.sinks.sink import LineSink
from worker.pipeline.task_result import further_fields, predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_engine.engine import ModelIdentity
    from clip_worker.sinks.sink import Sink
    from worker.cli.retag.scorer import Scored
    from worker.pipeline.scoring_plan import ScoringPlan

NO_TIME = Timing(
    queue=None, labels=0, fetch=0, decode=0, batch_wait=0, forward=0, score=0, batch_size=1
)


class RecordWriter:
    """Writes batches of answers to a sink.

    Args:
        sink: Where they go; it is open.
        model: What is named in the records.
        plan: The labels.
        threshold: Least score of a prediction; None for those of the plan.
    """

    def __init__(
        self, sink: Sink, model: ModelIdentity, plan: ScoringPlan, threshold: float | None
    ) -> None:
        self._sink = sink
        self._plan = plan
        self._threshold = threshold
        self._model = {"model": model.name, "model_digest": model.digest}

    def write(self, scored: Scored) -> None:
        """Write the answers of a batch.

        Raises:
            ServiceError: `SINK_FAILED`.
        """
        now = time.time()
        if isinstance(self._sink, LineSink):
            self._sink.write_lines([*self._lines(scored, now)])
        else:
            self._sink.write([*self._rows(scored, now)])

    def _lines(self, scored: Scored, now: float) -> Iterator[str]:
        """As `clip_worker.sinks.record.record_json` writes the rows."""
        end = self._model | {"fields": {}, "ended_at": datetime.fromtimestamp(now, UTC)}
        for content, image, result in self._answers(scored):
            record: dict[str, Any] = {"key": content, "image": clean_text(image), "status": "ok"}
            if result["predictions"]:
                best = result["predictions"][0]
                record |= {"label": best["label"], "probability": best["probability"]}
            if used := result.get("label_set"):
                known = {name: value for name, value in used.items() if value is not None}
                result["label_set"] = known
            yield to_json(record | result | end).decode()

    def _rows(self, scored: Scored, now: float) -> Iterator[Row]:
        for content, image, result in self._answers(scored):
            answer = Classification.model_validate(result | self._model | {"timing": NO_TIME})
            yield Row(Item(content, image), Outcome(status="ok", result=answer), now)

    def _answers(self, scored: Scored) -> Iterator[tuple[str, str, dict[str, Any]]]:
        rows = (
            (ranking, row) for ranking in scored.rankings for row in range(len(ranking.indices))
        )
        for content, image, (ranking, row) in zip(
            scored.contents, scored.images, rows, strict=True
        ):
            found = predictions(self._plan, self._threshold, ranking, row)
            yield content, image, {"predictions": found} | further_fields(self._plan, ranking, row)
