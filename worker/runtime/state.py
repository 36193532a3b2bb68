"""All state of a worker process: the model and the machinery around it, made in `worker_init`.

`start` builds it, `current` gives it to the tasks, `stop` ends it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from clip_worker.errors import ServiceError
from clip_worker.redis.url import connect
from worker.delivery.queue_consumer import QueueConsumer
from worker.metrics.instruments import Instruments
from worker.pipeline.pipeline import Pipeline
from worker.preparation import allocator
from worker.preparation.pool import PreparationPool
from worker.runtime.assembly import Progress, assemble, load, named_in_errors, replicas
from worker.runtime.batch_handler import BatchHandler
from worker.runtime.cores import cores
from worker.runtime.device import PinnedDevice, pin_device, usable_gpus
from worker.runtime.gpu import gpu_stats
from worker.runtime.minute_log import MinuteLog
from worker.runtime.queue_assembly import build_queue_consumer
from worker.runtime.report import SelfReport
from worker.runtime.report_assembly import build_report
from worker.runtime.report_writer import ReportWriter
from worker.runtime.search import Searcher, build_searcher
from worker.runtime.stop_signals import StopSignals
from worker.runtime.stopping import Stopping
from worker.runtime.text_feature_assembly import build_new_label_sets
from worker.runtime.unusable_gpu import unusable_gpu
from worker.runtime.watchdog import DEVICE_LOST, check_for_hang, end_process
from worker.runtime.webhook_assembly import build_poster, check_webhook
from worker.tracing.setup import build_traces, stop_traces
from worker.variables import SUPERVISED

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from clip_engine.inference.warm_up import WarmUp
    from worker.health.health import Health
    from worker.health.service import HealthService
    from worker.settings import Settings
    from worker.text_features.new_label_sets import NewLabelSets
    from worker.tracing.traces import Traces
    from worker.webhooks.poster import WebhookPoster

logger = logging.getLogger(__name__)

LEAST_ARENAS = 4
POOL_START_S = 30.0  # for the first preparation process
POOL_STOP_S = 2.0  # for all of them to end
POSTER_STOP_S = 1.0  # for webhooks that are being posted
TRACES_STOP_S = 1.0  # for the last spans to be sent
REPORTS_STOP_S = 0.5  # for this worker's report to be removed


@dataclass(frozen=True)
class Runtime:
    """What a worker process holds from its start to its end."""

    settings: Settings
    device: PinnedDevice
    engine: Engine
    pool: PreparationPool
    pipeline: Pipeline
    consumer: QueueConsumer
    stopping: Stopping
    signals: StopSignals
    poster: WebhookPoster | None
    service: HealthService
    instruments: Instruments
    report: SelfReport
    reports: ReportWriter
    minutes: MinuteLog
    searcher: Searcher | None
    new_label_sets: NewLabelSets

    def gpu_stats(self) -> dict[str, Any] | None:
        """Use and memory of the GPU; None on a CPU."""
        return gpu_stats(self.device.name, torch.cuda)

    def unused_gpu(self) -> str | None:
        """A warning, where this worker runs on the CPU for want of a GPU that torch can use."""
        falls_back = self.settings.device == "auto" and self.device.name == "cpu"
        return unusable_gpu(torch) if falls_back else None

    def serve(self) -> None:
        """Take tasks from the queue from now on; again after a reconnect does nothing."""
        if not self.consumer.is_started:
            self.stopping.start()
            self.signals.install()
            check = partial(check_webhook, settings=self.settings)
            self.consumer.start(BatchHandler(self.consumer, self.pipeline, self.pool, check))


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device.

    Attributes:
        settings: Of the worker, with the model's largest batch.
        device: Where it is.
        engine: The model.
        batches_at_once: Batches at the same time.
        warm_up: What the warm-up of a GPU found out; None on a CPU, which is not yet warm.
    """

    settings: Settings
    device: PinnedDevice
    engine: Engine
    batches_at_once: int
    warm_up: WarmUp | None


_current: Runtime | None = None


def current() -> Runtime:
    """This process's runtime.

    Raises:
        ServiceError: `NOT_STARTED`: this process is no worker, or its start failed.
    """
    if _current is None:
        raise ServiceError(
            "No model is loaded in this process: clip-worker's tasks run in a worker that was "
            "started with `clip-worker start` or `celery -A worker worker`.",
            "NOT_STARTED",
        )
    return _current


def running() -> Runtime | None:
    """This process's runtime, if it has one."""
    return _current


def start(  # noqa: PLR0913  # what a process is given at its start, by name
    settings: Settings,
    service: HealthService,
    progress: Progress | None = None,
    *,
    queues: Sequence[str] = (),
    worker: str = "worker",
    warmed: Callable[[WarmUp], object] = lambda _: None,
) -> Runtime:
    """Load and warm the model, and start the machinery; tasks come only once it serves.

    Args:
        settings: Of this worker.
        service: Tells how this worker is; it has been started.
        queues: Names of the queues to take tasks from; by default that of the settings.
        worker: This worker's name.
        warmed: Called with what the model's warm-up found out.
        progress: Called with bytes done and bytes in all if weights have to be fetched.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE` or `DEVICE_MISSING`; one sentence.
    """
    global _current  # noqa: PLW0603  # the one place where a process keeps its state
    queues, instruments = queues or (settings.queue,), Instruments(service.registry)
    report = build_report(
        settings, worker, queues, instruments, state=lambda: service.health.worker_state
    )
    reports = ReportWriter(connect(settings.redis_url, retries=0, most=2), report.current)
    reports.start()
    minutes = MinuteLog(connect(settings.redis_url, retries=0, most=2), report.current)
    loaded = load_model(settings, progress)
    settings, engine, batches_at_once = loaded.settings, loaded.engine, loaded.batches_at_once
    poster = build_poster(settings, worker)
    traces = build_traces(os.environ, worker, partial(_warn, report))
    consumer = build_queue_consumer(
        settings,
        queues=queues,
        worker=worker,
        replicas=batches_at_once,
        watch=lambda: watch(),  # noqa: PLW0108  # it is not made yet
        polled=service.health.poller.beat,
        instruments=instruments,
        traces=traces,
        poster=poster,
    )
    pool, pipeline = assemble(
        settings,
        engine,
        batches_at_once=batches_at_once,
        begin=consumer.begin_all,
        device_lost=lambda error: end_process(DEVICE_LOST, str(error), consumer.end_leases),
        instruments=instruments,
        traces=traces,
    )

    def watch() -> None:
        service.health.heartbeat.beat()
        check_for_hang(pipeline.oldest_run_s(), settings.hang_timeout_s, consumer.end_leases)

    service.health.watch_forward_passes(pipeline.oldest_run_s, settings.hang_timeout_s)
    drain = partial(_drain, service.health, consumer, poster, reports, traces, settings)
    stopping = Stopping(drain, longest_s=settings.drain_timeout_s)
    signals = StopSignals(stopping, wake=consumer.celery.wake, supervised=SUPERVISED in os.environ)
    _current = Runtime(
        *(settings, loaded.device, engine, pool, pipeline, consumer, stopping, signals, poster),
        service=service,
        instruments=instruments,
        report=report,
        reports=reports,
        minutes=minutes,
        searcher=build_searcher(settings, engine),
        new_label_sets=build_new_label_sets(settings, engine, lambda: not pipeline.in_flight),
    )
    report.attach(_current)
    minutes.start()
    pool.start()  # the processes start while the model warms up on a CPU
    warmed(loaded.warm_up or _warm(settings, engine))
    pipeline.start()
    _current.new_label_sets.start()
    pool.wait_until_ready(POOL_START_S)  # else the log says so, and images wait
    return _current


def load_model(settings: Settings, progress: Progress | None) -> LoadedModel:
    """Choose the device, set torch's threads and load the model; on a GPU warm it up.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE` or `DEVICE_MISSING`; one sentence.
    """
    allocator.limit_arenas(max(LEAST_ARENAS, cores(settings.workers)))
    device = pin_device(settings.device, partial(usable_gpus, torch.cuda))
    batches_at_once = replicas(settings, device.name)
    if batches_at_once > 1 or device.name != "cpu":
        torch.set_num_threads(1)  # a forward pass that gets more gets it while it runs
    else:
        torch.set_num_threads(cores(settings.workers))
    engine = load(settings, device.name, progress)
    # On a GPU the warm-up determines the largest batch, and with it what else is assembled.
    warm_up = None if device.name == "cpu" else _warm(settings, engine)
    settings = settings.model_copy(update={"max_batch": engine.max_batch})
    return LoadedModel(settings, device, engine, batches_at_once, warm_up)


def _warm(settings: Settings, engine: Engine) -> WarmUp:
    with named_in_errors(settings):
        return engine.warm()


def stop(status: int = 0) -> int:
    """Finish what has begun, give back the rest, and end all threads.

    Args:
        status: Exit status, if nothing has ordered the stop.

    Returns:
        Tasks that had to be given up, whose threads may be stuck.
    """
    global _current  # as above
    if _current is None:
        return 0
    _current.stopping.wait(status)
    runtime, _current = _current, None
    if not runtime.consumer.is_started:
        runtime.pipeline.drain(runtime.settings.images_drain_s)
    runtime.new_label_sets.stop()
    given_up = runtime.pipeline.stop() + runtime.consumer.given_back
    runtime.reports.stop(REPORTS_STOP_S)
    runtime.minutes.stop()
    runtime.pool.stop(POOL_STOP_S)
    return given_up


def _warn(report: SelfReport, sentence: str) -> None:
    logger.warning(sentence)
    report.warn(sentence)


def _drain(  # noqa: PLR0913, PLR0917  # what a worker ends, in order
    health: Health,
    consumer: QueueConsumer,
    poster: WebhookPoster | None,
    reports: ReportWriter,
    traces: Traces | None,
    settings: Settings,
    is_urgent: Callable[[], bool],
) -> bool:
    health.draining()
    must_end = consumer.drain(settings.images_drain_s, settings.drain_timeout_s, is_urgent)
    if poster:
        poster.stop(0.0 if is_urgent() else POSTER_STOP_S)
    reports.stop(REPORTS_STOP_S)
    if traces:
        stop_traces(traces, 0.0 if is_urgent() else TRACES_STOP_S)
    if consumer.given_back:
        logger.warning("Requeued %d tasks that this worker did not finish.", consumer.given_back)
    return must_end
