"""Answers for all stored embeddings of a space, and continues exactly after any crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from clip_worker.bulk.journal import Checkpoint
from clip_worker.bulk.progress import Progress
from clip_worker.bulk.watermark import Advance
from worker.runtime import gc_tuning

if TYPE_CHECKING:
    from clip_worker.bulk.journal import Journal
    from clip_worker.sinks.sink import Sink
    from worker.cli.retag.records import RecordWriter
    from worker.cli.retag.scorer import Scorer
    from worker.embeddings.store import EmbeddingStore, Space

AT_A_TIME = 16_384  # embeddings
COMMIT_S = 5.0


class RetagRun:
    """Scans a store, scores what it yields and writes the answers.

    The scan's position and the sink's are committed together, in the journal, after the sink's rows
    are durable.

    Args:
        store: The embeddings.
        space: Those to answer for.
        scorer: Scores them.
        writer: Writes to `sink`.
        sink: Where answers go; `run` opens and closes it.
        journal: An open journal of the run.
        on_progress: Called after each batch.
        commit_s: Longest time between commits, in seconds.
        clock: Monotonic seconds.

    Attributes:
        progress: How far the run is.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        store: EmbeddingStore,
        space: Space,
        *,
        scorer: Scorer,
        writer: RecordWriter,
        sink: Sink,
        journal: Journal,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        commit_s: float = COMMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._space = space
        self._scorer = scorer
        self._writer = writer
        self._sink = sink
        self._journal = journal
        self._on_progress = on_progress
        self._commit_s = commit_s
        self._clock = clock
        self._pending: list[bytes] = []  # contents whose answers are not committed
        self.progress = Progress(clock=clock)

    def run(self) -> None:
        """Answer for all embeddings that have no answer yet.

        Raises:
            TemporaryError: `EMBEDDING_STORE`.
            ServiceError: `SINK_FAILED` or `JOURNAL_FAILED`.
        """
        if self._journal.is_complete:
            return
        self._sink.open(self._journal.sink_position)
        try:
            if self._journal.sink_position is None:
                self._commit(None)
            with gc_tuning.frozen():  # or each collection looks at all that the model's code has
                self._answer_all()
            self._journal.complete()
        finally:
            self._sink.close()

    def _answer_all(self) -> None:
        self.progress.total = self._store.count(self._space)
        self.progress.begin(self._journal.done, 0)
        position, committed_at = self._journal.position, self._clock()
        batches = self._store.scan(self._space, position, AT_A_TIME)
        with closing(self._scorer.scored(batches)) as answers:
            for scored in answers:
                self._writer.write(scored)
                self._pending += map(bytes.fromhex, scored.contents)
                position = scored.position
                self.progress.done += len(scored.contents)
                if self._clock() - committed_at >= self._commit_s:
                    self._commit(position)
                    committed_at = self._clock()
                self.progress.sample()
                self._on_progress(self.progress)
        self._commit(position)

    def _commit(self, position: str | None) -> None:
        self._journal.commit(Checkpoint(Advance(position), self._sink.commit(), self._pending))
        self._pending = []
