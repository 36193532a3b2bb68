"""The way of pictures through a worker: labels, fetch, gate, decode, batch, score.

Each stage runs where it belongs: fetching waits on others and has many threads, decoding and
scoring take a core and have as many threads as cores, the image tower runs in batches. Tasks may
differ in labels, templates and K, for a batch carries nothing but pixels. One picture's way is
`worker.pipeline.passage`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from worker.contract import Classification
from worker.errors import ClipWorkerError
from worker.pipeline.error_translation import stopping
from worker.pipeline.fatal import Fatal
from worker.pipeline.gate import Gate, OpenGate
from worker.pipeline.host_limiter import Hosts
from worker.pipeline.job import Job
from worker.pipeline.line import Fetches, Line, ReadsLabelSets
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.passage import Passage
from worker.pipeline.retry import Random, RetryPolicy
from worker.pipeline.score_stage import Scoring
from worker.pipeline.thread_pool import Pool
from worker.pipeline.timer import Timer

__all__ = ["Fetches", "Job", "Pipeline"]

FETCHES = 32  # at the same time, where no `hosts` says otherwise
MEMORY_BYTES = 1024 * 1024 * 1024  # where no `budget` does

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.pipeline.batcher import Batcher

logger = logging.getLogger(__name__)


class Pipeline:
    """Takes jobs, gives futures of classifications. Threads may share it.

    Args:
        engine: The model.
        fetcher: From URI to bytes.
        label_sets: From a stored set's name to its labels; without it no job may name one.
        batcher: Runs `engine.encode_pixels`; its owner starts and stops it.
        fetch_pool: For label features, which are mostly cached, and fetches.
        decode_pool: For decoding and scoring.
        gate: Stands between fetch and decode.
        fatal: Judges what a batch fails with.
        retry: When a fetch that failed for now is tried again.
        timer: Ends pauses and rests; stopped with the pipeline.
        hosts: On the same timer; says who may fetch from where.
        budget: Of memory for all pictures in hand.
        now: Unix time in seconds.
        draw: Draws the jitter of pauses, evenly from [0, 1).
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        engine: Engine,
        fetcher: Fetches,
        batcher: Batcher[Tensor, Tensor],
        fetch_pool: Pool,
        decode_pool: Pool,
        label_sets: ReadsLabelSets | None = None,
        gate: Gate | None = None,
        fatal: Fatal | None = None,
        retry: RetryPolicy | None = None,
        timer: Timer | None = None,
        hosts: Hosts | None = None,
        budget: MemoryBudget | None = None,
        now: Callable[[], float] = time.time,
        draw: Random = random.random,
    ) -> None:
        timer = timer or Timer()
        self._line = Line(
            engine=engine,
            fetcher=fetcher,
            label_sets=label_sets,
            batcher=batcher,
            fetch_pool=fetch_pool,
            decode_pool=decode_pool,
            gate=gate or OpenGate(),
            scoring=Scoring(engine, decode_pool, fatal or Fatal(), lambda: batcher.is_idle),
            hosts=hosts or Hosts(timer, threads=FETCHES),
            budget=budget or MemoryBudget(MEMORY_BYTES),
            timer=timer,
            retry=retry or RetryPolicy(),
            now=now,
            random=draw,
        )
        self._under_way: set[Passage] = set()  # its own operations are atomic, so it has no lock
        self._waiter = threading.Event()  # set when the last job ends, for `drain`
        self._draining = False
        self._stopped = False

    def stop(self) -> int:
        """Take no more jobs, and end every future that is still in flight.

        Returns:
            How many there were.
        """
        self._stopped = True
        self._line.timer.stop()
        return self.abandon()

    def submit(self, job: Job) -> Future[Classification]:
        """Start a job.

        Returns:
            A future that ends with the classification or with an error of `worker.errors`.
        """
        passage = Passage(self._line, job, self._ended)
        self._under_way.add(passage)
        if self._stopped:  # looked at after the job can be seen, so that `stop` or this ends it
            passage.fail(stopping(job.image))
        else:
            passage.start()
        return passage.future

    @property
    def in_flight(self) -> int:
        """Jobs that were submitted and have not ended."""
        return len(self._under_way)

    def oldest_decode_s(self) -> float:
        """Seconds that the longest of the decodes under way has been running; 0 if none is."""
        began = list(self._line.tally.decoding.values())
        return max(0.0, self._line.clock() - min(began)) if began else 0.0

    @property
    def resting(self) -> int:
        """Jobs in flight that wait for another attempt, or for the end of their host's rest."""
        return len(self._line.tally.pausing) + self._line.hosts.resting

    @property
    def preparation_s(self) -> float:
        """Seconds that a fetch and a decode take, the average of the last jobs without pauses."""
        return self._line.tally.preparation_s

    def drain(self, timeout_s: float) -> int:
        """Wait until nothing is in flight.

        Returns:
            Jobs that still are, once that takes longer than `timeout_s` seconds.
        """
        end = time.monotonic() + timeout_s
        self._draining = True  # before looking: who ends after the look sees it
        while self._under_way and (left_s := end - time.monotonic()) > 0:
            self._waiter.clear()
            if self._under_way:
                self._waiter.wait(left_s)
        self._draining = False
        return self.in_flight

    def abandon(self, error_of: Callable[[Job], ClipWorkerError] | None = None) -> int:
        """End every future still in flight; the stages under way come to nothing.

        Args:
            error_of: What a job fails with; by default `TemporaryError`, code `STOPPING`.

        Returns:
            How many there were.
        """
        abandoned = list(self._under_way)
        for passage in abandoned:
            passage.fail(error_of(passage.job) if error_of else stopping(passage.job.image))
        return len(abandoned)

    def _ended(self, passage: Passage) -> None:
        try:
            self._line.gate.leave(passage.job)
        except Exception:
            logger.exception("The gate failed as a job left")
        self._under_way.discard(passage)
        if self._draining and not self._under_way:
            self._waiter.set()
