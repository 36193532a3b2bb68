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
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from clip_worker.errors import ServiceError
from clip_worker.quoting import redacted, shown_uri
from worker.metrics.instruments import Instruments
from worker.pipeline.batcher import Batcher
from worker.pipeline.core_share import CoreShare
from worker.pipeline.encode_stage import Begin, EncodeStage
from worker.pipeline.error_translation import stopping, translate
from worker.pipeline.fetch_stage import FetchStage, ImagePool
from worker.pipeline.image_task import ImageTask, Owner, sharers
from worker.pipeline.label_stage import LabelStage
from worker.pipeline.message_outcomes import is_stopping
from worker.pipeline.retry import Random, Retries, RetryPolicy
from worker.pipeline.score_stage import ScoreStage
from worker.pipeline.scoring_plan import ReadsLabelSets
from worker.pipeline.single_flight import SingleFlight
from worker.pipeline.timer import Timer

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from worker.metrics.instruments import ImageOutcome
    from worker.pipeline.circuit_breaker import RestPolicy
    from worker.pipeline.upload_stage import UploadStage
    from worker.preparation.records import PreparedImage
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
        self._in_flight: dict[int, ImageTask] = {}
        self._emptied = threading.Condition()
        self._stopped = False
        self._traces = traces
        self._instruments = instruments = instruments or Instruments()
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
            then=self._prepare, failed=self.fail, timer=timer, now=now, is_on=single_flight
        )
        self._score = ScoreStage(engine, cores=share, succeeded=self._succeed, failed=self.fail)
        self._encode = EncodeStage(
            engine,
            pool,
            cores=share,
            begin=begin,
            flights=self._flights,
            then=self._score.put,
            failed=self.fail,
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
            failed=self.fail,
            gone=self._release,
            now=now,
        )
        self._uploads = uploads and uploads(then=self._fetch.run, failed=self._try_again)
        self._after_labels = self._uploads.run if self._uploads else self._fetch.run
        self._labels = LabelStage(
            engine, label_sets, cores=share, then=self._flights.run, failed=self._try_again
        )

    def start(self) -> None:
        """Start the batch runners."""
        self._batcher.start()

    def submit(self, tasks: Sequence[ImageTask]) -> None:
        """Begin with tasks; each owner receives them when they have ended."""
        self._in_flight.update({task.key: task for task in tasks})
        if self._stopped:  # looked at after the tasks can be seen, so that `stop` or this ends them
            self._end_all(tasks)
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
        with self._emptied:
            self._emptied.wait_for(lambda: not self._in_flight, timeout_s)
        return self.in_flight

    def abandon(self) -> int:
        """End every task in flight with `TemporaryError`, code `STOPPING`.

        Returns:
            How many there were.
        """
        return self._end_all(list(self._in_flight.values()))

    def stop(self, timeout_s: float = STOP_S) -> int:
        """End every task in flight, and all threads.

        Returns:
            How many tasks there were.
        """
        self._stopped = True
        self._timer.stop()
        count = self.abandon()
        for stage in (self._uploads, self._labels, self._batcher, self._score):
            if stage is not None:
                stage.stop(timeout_s)
        return count

    def fail(self, task: ImageTask, error: BaseException) -> None:
        """End a task with an error of `clip_worker.errors`, unless it has ended."""
        if self._in_flight.pop(task.key, None) is None:
            return
        translated = translate(error, task.image)
        if isinstance(translated, ServiceError):
            _log(task, error, translated.code)
        # Its causes may quote the URI, and Celery stores and logs all that hangs on an error; and
        # a traceback keeps the frames, and with them the task, from being freed.
        translated.__cause__ = translated.__context__ = translated.__traceback__ = None
        task.error = translated
        outcome: ImageOutcome = "requeued" if is_stopping(translated) else "failed"
        self._instruments.image_ended(outcome, translated.code)
        self._tell([task])

    def _prepare(self, tasks: Sequence[ImageTask]) -> None:
        """Have the images of leaders read, or prepared."""
        self._after_labels(tasks)

    def _fail_image(self, leader: ImageTask, error: BaseException) -> None:
        self._flights.fail(leader, error)

    def _try_again(self, task: ImageTask, error: BaseException) -> None:
        """After labels or an upload could not be read."""
        task.attempts += 1
        has_labels = task.text is not None
        attempt = self._after_labels if has_labels else self._labels.run
        self._retries.retry_or_fail(task, error, attempt)

    def _end_all(self, tasks: Sequence[ImageTask]) -> int:
        for task in tasks:
            self.fail(task, stopping(task.image))
        return len(tasks)

    def _succeed(self, tasks: Sequence[ImageTask]) -> None:
        """End tasks that have their results, unless they have ended."""
        ended = [task for task in tasks if self._in_flight.pop(task.key, None) is not None]
        self._instruments.image_ended("succeeded", count=len(ended))
        self._instruments.stages_ended([task.result["timing"] for task in ended if task.result])
        self._tell(ended)

    def _release(self, leader: ImageTask) -> None:
        """Drop the bytes of an upload if no task in flight needs them."""
        self._flights.close([leader])
        is_needed = any(task.key in self._in_flight for task in sharers(leader))
        if self._uploads is not None and not is_needed:
            self._uploads.release(leader)

    def _tell(self, tasks: Sequence[ImageTask]) -> None:
        if self._traces:
            self._traces.images_ended(tasks)
        owners: dict[int, tuple[Owner, list[ImageTask]]] = {}
        for task in tasks:
            if (leader := task.leader or task).data is not None:
                self._release(leader)
            task.leader = None  # no circle is left to the garbage collector
            owners.setdefault(id(task.owner), (task.owner, []))[1].append(task)
        for owner, its in owners.values():
            try:
                owner.finished(its)
            except Exception:
                logger.exception("The owner of %d image tasks failed", len(its))
        if not self._in_flight:
            with self._emptied:
                self._emptied.notify_all()


def _log(task: ImageTask, error: BaseException, code: str) -> None:
    trace = redacted("".join(traceback.format_exception(error)), task.image)
    fields = task.message.log_fields(code) if task.message else {"code": code}
    logger.error("Image %s failed:\n%s", shown_uri(task.image), trace.rstrip(), extra=fields)
