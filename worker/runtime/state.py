"""All state of a worker process: the model and the machinery around it, made in `worker_init`.

`start` builds it, `current` gives it to the tasks, `stop` ends it.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from redis import Redis
from redis.exceptions import RedisError
from torch import Tensor

from clip_engine.acceleration import Acceleration
from clip_engine.engine import Engine
from clip_engine.errors import ClipEngineError, DeviceLostError
from clip_engine.inference.buckets import buckets_up_to
from clip_engine.loader import load_engine
from worker import allocator
from worker.delivery.queue_consumer import QueueConsumer
from worker.errors import ServiceError
from worker.memory_limit import memory
from worker.pipeline.batcher import Batcher
from worker.pipeline.fatal import Fatal
from worker.pipeline.host_limiter import Hosts
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.thread_pool import Crew
from worker.pipeline.timer import Timer
from worker.redis.label_sets import LabelSets
from worker.redis.url import connect
from worker.runtime import exit_codes
from worker.runtime.batch_handler import Admission
from worker.runtime.device import PinnedDevice, pin_device
from worker.runtime.isolation_gate import IsolationGate
from worker.runtime.queue_path import build_queue_consumer
from worker.runtime.stop_signals import StopSignals
from worker.runtime.stopping import Stopping
from worker.settings import Settings
from worker.sources import Fetcher, FetchLimits, FetchPolicy, UploadStore

logger = logging.getLogger(__name__)

LEAST_ARENAS = 4
LEAST_PICTURE_MEMORY_BYTES = 16 * 1024 * 1024
USUAL_PICTURE_MEMORY_BYTES = 1024 * 1024 * 1024  # where nothing says how much there is
MOST_PICTURE_MEMORY_BYTES = 4 * 1024 * 1024 * 1024  # more would not make a worker faster

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Runtime:
    """What a worker process holds from its start to its end."""

    settings: Settings
    device: PinnedDevice
    engine: Engine
    batcher: Batcher[Tensor, Tensor]
    pipeline: Pipeline
    consumer: QueueConsumer
    pools: tuple[Crew, Crew]
    stopping: Stopping
    signals: StopSignals

    def serve(self) -> None:
        """Take tasks by the queue consumer from now on; again after a reconnect does nothing."""
        if not self.consumer.is_started:
            self.stopping.start()
            self.signals.install()
            self.consumer.start(Admission(self.consumer, self.pipeline))


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


def start(
    settings: Settings,
    progress: Progress | None = None,
    *,
    queues: Sequence[str] = (),
    worker: str = "worker",
) -> Runtime:
    """Load and warm the model, and start the machinery; tasks come only once it serves.

    Args:
        settings: Of this worker.
        queues: Names of the queues to take tasks from; by default that of the settings.
        worker: This worker's name.
        progress: Called with bytes done and bytes in all if weights have to be fetched.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE` or `DEVICE_MISSING`; one sentence.
    """
    global _current  # noqa: PLW0603  # the one place where a process keeps its state
    warnings.filterwarnings("ignore", module=r"PIL\.")  # hostile pictures must not flood the log
    allocator.limit_arenas(max(LEAST_ARENAS, _cores()))
    device = pin_device(settings.device, torch.cuda.device_count())
    replicas = _replicas(settings, device.name)
    if replicas > 1 or device.name != "cpu":
        torch.set_num_threads(1)  # one thread a replica beats threads inside a forward pass
    engine = _load(settings, device.name, replicas, progress)
    settings = settings.model_copy(update={"max_batch": engine.buckets[-1]})
    consumer = build_queue_consumer(
        settings,
        queues=queues or (settings.queue,),
        worker=worker,
        replicas=replicas,
        watch=_watch,
    )
    _current = _assemble(settings, device, engine, replicas, consumer)
    _current.batcher.start()
    return _current


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
    # Upstream first: each stage may still hand its work to the next.
    if not runtime.consumer.is_started:
        runtime.pipeline.drain(runtime.settings.pictures_drain_s)
    given_up = runtime.pipeline.stop() + runtime.consumer.given_back
    for pool in runtime.pools:
        pool.shutdown(wait=not given_up, cancel_futures=True)
    runtime.batcher.stop(timeout_s=1.0 if given_up else runtime.settings.pictures_drain_s)
    return given_up


def _drain(consumer: QueueConsumer, settings: Settings, is_urgent: Callable[[], bool]) -> bool:
    must_end = consumer.drain(settings.pictures_drain_s, settings.drain_timeout_s, is_urgent)
    if consumer.given_back:
        logger.warning("%d tasks were given back to the queue.", consumer.given_back)
    return must_end


def _watch() -> None:
    """End this process if a decode or a forward pass hangs, for nothing else can end that."""
    if _current is None:
        return
    limit_s = _current.settings.hang_timeout_s
    longest_s = max(_current.batcher.oldest_run_s(), _current.pipeline.oldest_decode_s())
    if longest_s > limit_s:
        _end_process(
            exit_codes.HUNG,
            f"a decode or a forward pass has been running for {longest_s:.0f} s, more than "
            f"CLIP_WORKER_HANG_TIMEOUT_S={limit_s:g}",
        )


def _end_process(status: int, reason: str) -> None:
    """Let the tasks in hand go and end at once; supervision starts the next process."""
    logger.critical("This worker ends itself: %s.", reason)
    try:
        if _current is not None and _current.consumer.is_started:
            _current.consumer.let_go()
    except RedisError as error:  # their leases run out by themselves
        logger.warning("The tasks in hand return later than they should: %s", error)
    finally:
        os._exit(status)


def _load(settings: Settings, device: str, replicas: int, progress: Progress | None) -> Engine:
    try:
        engine = load_engine(
            settings.model,
            device=device,
            precision=None if settings.precision == "auto" else settings.precision,
            preprocessing=settings.preprocessing,
            max_pixels=settings.max_pixels,
            formats=settings.image_formats,
            buckets=None if settings.max_batch is None else buckets_up_to(settings.max_batch),
            acceleration=Acceleration.without(settings.disable),
            replicas=replicas,
            cache_dir=settings.cache_dir,
            mirror=settings.mirror,
            offline=settings.offline,
            progress=progress,
        )
        engine.warm()
    except ClipEngineError as error:
        raise ServiceError(
            f"The model CLIP_WORKER_MODEL={settings.model!r} can't be loaded. {error}",
            "MODEL_UNAVAILABLE",
        ) from error
    return engine


def _assemble(
    settings: Settings, device: PinnedDevice, engine: Engine, replicas: int, consumer: QueueConsumer
) -> Runtime:
    redis = connect(settings.redis_url)
    fetch_pool = Crew(settings.fetch_threads, "fetch")
    decode_pool = Crew(settings.decode_threads or _cores(), "decode")
    batcher: Batcher[Tensor, Tensor] = Batcher(
        lambda pixels: engine.encode_pixels(pixels).unbind(),
        max_batch=settings.largest_batch,
        runners=replicas,
        max_wait_s=settings.max_wait_s,
    )
    timer = Timer()
    pipeline = Pipeline(
        engine=engine,
        fetcher=_fetcher(settings, redis),
        label_sets=LabelSets(redis),
        retry=RetryPolicy(attempts=settings.fetch_attempts, total_s=settings.retry_total_s),
        timer=timer,
        hosts=Hosts(timer, threads=settings.fetch_threads, most_a_host=settings.fetches_per_host),
        budget=_memory_budget(settings),
        batcher=batcher,
        fetch_pool=fetch_pool,
        decode_pool=decode_pool,
        gate=IsolationGate(consumer),
        fatal=Fatal(
            lambda error: isinstance(error, DeviceLostError),
            lambda error: _end_process(exit_codes.DEVICE_LOST, str(error)),
        ),
    )
    pools = (fetch_pool, decode_pool)
    stopping = Stopping(partial(_drain, consumer, settings), longest_s=settings.drain_timeout_s)
    signals = StopSignals(
        stopping,
        wake=consumer.celery.wake,
        ignores_hangup=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    )
    return Runtime(settings, device, engine, batcher, pipeline, consumer, pools, stopping, signals)


def _fetcher(settings: Settings, redis: Redis) -> Fetcher:
    policy = FetchPolicy(
        file_roots=settings.file_roots,
        allow_networks=settings.allow_networks,
        allow_private=settings.allow_private,
        object_store_schemes=settings.object_store_schemes,
    )
    limits = FetchLimits(max_bytes=settings.max_bytes, total_s=settings.fetch_timeout_s)
    return Fetcher(policy, limits, UploadStore(redis))


def _memory_budget(settings: Settings) -> MemoryBudget:
    """By default half of what is left beside the model: the other half is for all else."""
    found = memory()
    left = found.left // 2 if found else USUAL_PICTURE_MEMORY_BYTES
    usual = max(LEAST_PICTURE_MEMORY_BYTES, min(left, MOST_PICTURE_MEMORY_BYTES))
    return MemoryBudget(
        settings.picture_memory_bytes or usual,
        most_bytes=found.most if found else None,
        return_freed=allocator.return_freed,
    )


def _replicas(settings: Settings, device: str) -> int:
    return settings.replicas or (_cores() if device == "cpu" else 1)


def _cores() -> int:
    """Cores that this process may use, which a container may have fewer of than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
