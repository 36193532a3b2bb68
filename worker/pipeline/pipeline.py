"""From image tasks to results: labels, uploads, fetch and decode, encode, score.

pipeline.submit([ImageTask(image="https://example.com/cat.jpg", request=request, owner=owner)])
# later, on another thread: owner.finished([task]), with task.result or task.error

Each stage takes several tasks and hands them on to the next. Tasks may differ in labels, templates
and K, for a batch carries nothing but pixels. A task ends once, whichever comes first: a result, an
error, or `abandon`. Stages drop tasks that have ended.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from worker.metrics.instruments import Instruments
from worker.pipeline.batcher import Batcher
from worker.pipeline.core_share import CoreShare
from worker.pipeline.encode_stage import Begin, EncodeStage
from worker.pipeline.fetch_stage import FetchStage, ImagePool
from worker.pipeline.image_task import ImageTask, sharers
from worker.pipeline.label_stage import LabelStage
from worker.pipeline.retry import Random, Retries, RetryPolicy
from worker.pipeline.score_stage import ScoreStage
from worker.pipeline.scoring_plan import ReadsLabelSets
from worker.pipeline.single_flight import SingleFlight
from worker.pipeline.tasks_in_flight import TasksInFlight
from worker.pipeline.timer import Timer

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.pipeline.circuit_breaker import RestPolicy
    from worker.pipeline.embedding_stage import EmbeddingStage
    from worker.pipeline.upload_stage import UploadStage
    from worker.preparation.records import FetchedImage, PreparedImage
    from worker.tracing.traces import Traces

logger = logging.getLogger(__name__)

STOP_S = 2.0  # for a thread to notice


class Pipeline:
    """Takes image tasks and ends them. Threads may share it.

    Args:
        engine: The model.
        pool: Prepares images; its owner starts and stops it, and hands its outcomes to `prepared`.
        label_sets: From a name to the label set that is stored; without it no request may name one.
        uploads: Makes the stage that reads uploads, given `then` and `failed`.
        embeddings: Makes the stage that keeps embeddings; None to keep none.
        begin: Asked before each batch which messages may run.
        device_lost: Called when the model's device fails for good.
        retry: When an attempt that failed is made again.
        rest: When a host that fails is not asked.
        fetches: Simultaneous fetches in all.
        most_a_host: Simultaneous fetches from one host.
        runners: Batches at the same time; one for each replica of the model.
        cores: For the forward passes to share; None to leave torch's number of threads alone.
        max_wait_s: See `worker.pipeline.batcher.Batcher`.
        instruments: Count what happens.
        traces: Trace images; None if nobody wants that.
        single_flight: Whether tasks for the same image share its preparation; a measurement that
            uses a few images again and again turns it off.
        timer: Ends pauses and rests; stopped with the pipeline.
        now: Unix time in seconds.
        draw: Draws the jitter of pauses, evenly from [0, 1).
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        engine: Engine,
        pool: ImagePool,
        label_sets: ReadsLabelSets | None = None,
        uploads: Callable[..., UploadStage] | None = None,
        embeddings: Callable[..., EmbeddingStage] | None = None,
        begin: Begin,
        device_lost: Callable[[BaseException], None] = lambda _: None,
        retry: RetryPolicy | None = None,
        rest: RestPolicy | None = None,
        fetches: int = 32,
        most_a_host: int | None = None,
        runners: int = 1,
        cores: int | None = None,
        max_wait_s: float = 0.0,
        instruments: Instruments | None = None,
        traces: Traces | None = None,
        single_flight: bool = True,
        timer: Timer | None = None,
        now: Callable[[], float] = time.time,
        draw: Random = random.random,
    ) -> None:
        self._stopped = False
        instruments = instruments or Instruments()
        self._in_flight = TasksInFlight(self._ended, instruments, traces)
        fail = self._in_flight.fail
        self._timer = timer = timer or Timer()
        self._retries = Retries(
            retry or RetryPolicy(),
            timer,
            failed=self._fail_image,
            retried=instruments.fetch_retried,
            now=now,
            draw=draw,
        )
        share = CoreShare(cores)
        self._flights = SingleFlight(
            then=self._prepare, failed=fail, timer=timer, now=now, is_on=single_flight
        )
        self._score = ScoreStage(
            engine, cores=share, succeeded=self._in_flight.succeed, failed=fail
        )
        self._encode = EncodeStage(
            engine,
            pool,
            cores=share,
            begin=begin,
            flights=self._flights,
            then=self._score.put,
            encoded=self._encoded,
            failed=fail,
            device_lost=device_lost,
            ran=instruments.batch_ran,
            now=now,
            clock=timer.clock,
        )
        self._batcher = Batcher(
            self._encode.run,
            self._encode.fail,
            max_batch=lambda: engine.max_batch,
            runners=runners,
            max_wait_s=max_wait_s,
            clock=timer.clock,
            now=now,
        )
        self._fetch = FetchStage(
            pool,
            retries=self._retries,
            timer=timer,
            threads=fetches,
            most_a_host=most_a_host,
            rest=rest,
            flights=self._flights,
            then=self._batcher.add,
            known=self._known,
            fetched=self._fetched,
            failed=fail,
            gone=self._release,
            now=now,
        )
        self._uploads = uploads and uploads(then=self._read, failed=self._try_again)
        self._embeddings = embeddings and embeddings(
            pool=pool,
            read=self._read_uploads,
            known=self._encode.hand_on,
            failed=self._fail_image,
            instruments=instruments,
            timer=timer,
        )
        self._labels = LabelStage(
            engine, label_sets, cores=share, then=self._flights.run, failed=self._try_again
        )

    def start(self) -> None:
        """Start the batch runners."""
        self._batcher.start()

    def submit(self, tasks: Sequence[ImageTask]) -> None:
        """Begin with tasks; each owner receives them when they have ended."""
        self._in_flight.add(tasks)
        if self._stopped:  # looked at after the tasks can be seen, so that `stop` or this ends them
            self._in_flight.abandon(tasks)
        else:
            self._labels.run(self._fetch.wanted(tasks))

    def prepared(self, images: Sequence[PreparedImage]) -> None:
        """Take the outcomes of preparation; called by the pool."""
        self._fetch.prepared(images)

    @property
    def in_flight(self) -> int:
        """Tasks that were submitted and have not ended."""
        return len(self._in_flight)

    @property
    def resting(self) -> int:
        """Tasks that wait for another attempt, or for the end of their host's rest."""
        return self._retries.pausing + self._fetch.resting

    @property
    def hosts_resting(self) -> int:
        """Hosts that are not asked for now because they failed."""
        return self._fetch.hosts_resting

    @property
    def preparation_s(self) -> float:
        """Seconds that it takes to fetch and decode an image, on average."""
        return self._fetch.preparation_s

    def oldest_run_s(self) -> float:
        """Seconds that the longest forward pass under way has been running; 0 if none is."""
        return self._encode.oldest_run_s()

    def drain(self, timeout_s: float) -> int:
        """Wait until nothing is in flight.

        Returns:
            Tasks that still are, once that takes longer than `timeout_s` seconds.
        """
        return self._in_flight.drain(timeout_s)

    def abandon(self) -> int:
        """End every task in flight with `TemporaryError`, code `STOPPING`.

        Returns:
            How many there were.
        """
        return self._in_flight.abandon()

    def stop(self, timeout_s: float = STOP_S) -> int:
        """End every task in flight, and all threads.

        Returns:
            How many tasks there were.
        """
        self._stopped = True
        self._timer.stop()
        count = self.abandon()
        stages = (self._uploads, self._embeddings, self._labels, self._batcher, self._score)
        for stage in stages:
            if stage is not None:
                stage.stop(timeout_s)
        return count

    def fetched(self, images: Sequence[FetchedImage]) -> None:
        """Decide whether images are decoded that were fetched; called by the pool."""
        self._fetch.fetched(images)

    def _prepare(self, leaders: Sequence[ImageTask]) -> None:
        """Look up, read or prepare images."""
        (self._embeddings.run if self._embeddings else self._read_uploads)(leaders)

    def _read_uploads(self, leaders: Sequence[ImageTask]) -> None:
        (self._uploads.run if self._uploads else self._fetch.run)(leaders)

    def _read(self, leaders: Sequence[ImageTask]) -> None:
        """After uploads were read."""
        if self._embeddings:
            self._embeddings.was_read(leaders)
        self._fetch.run(leaders)

    def _fetched(self, leaders: Sequence[ImageTask]) -> None:
        assert self._embeddings, "processes ask only where embeddings are kept"
        self._embeddings.fetched(leaders)

    def _known(self, leaders: Sequence[ImageTask]) -> None:
        assert self._embeddings, "features are known only where embeddings are kept"
        self._embeddings.ready(leaders)

    def _encoded(self, leaders: Sequence[ImageTask], features: Tensor) -> None:
        if self._embeddings:
            self._embeddings.encoded(leaders, features)

    def _fail_image(self, leader: ImageTask, error: BaseException) -> None:
        self._flights.fail(leader, error)

    def _try_again(self, task: ImageTask, error: BaseException) -> None:
        """After labels or an upload could not be read."""
        task.attempts += 1
        has_labels = task.text is not None
        attempt = self._read_uploads if has_labels else self._labels.run
        self._retries.retry_or_fail(task, error, attempt)

    def _release(self, leader: ImageTask) -> None:
        """Drop the bytes of an upload if no task in flight needs them."""
        self._flights.close([leader])
        is_needed = any(task in self._in_flight for task in sharers(leader))
        if self._uploads is not None and not is_needed:
            self._uploads.release(leader)

    def _ended(self, tasks: Sequence[ImageTask]) -> None:
        for task in tasks:
            if (leader := task.leader or task).data is not None:
                self._release(leader)
            task.leader = None  # no circle is left to the garbage collector
