"""All state of a worker process: the model and the machinery around it, made in `worker_init`.

`start` builds it, `current` gives it to the tasks, `stop` ends it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from redis import Redis
from torch import Tensor

from clip_engine.engine import Engine
from clip_engine.errors import ClipEngineError
from clip_engine.loader import load_engine
from worker.batcher import Batcher
from worker.device import PinnedDevice, pin_device
from worker.errors import ServiceError
from worker.label_sets import LabelSets
from worker.pipeline import Pipeline
from worker.redis_url import connect
from worker.settings import Settings
from worker.sources import Fetcher, FetchLimits, FetchPolicy, UploadStore

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Runtime:
    """What a worker process holds from its start to its end."""

    settings: Settings
    device: PinnedDevice
    engine: Engine
    batcher: Batcher[Tensor, Tensor]
    pipeline: Pipeline
    label_sets: LabelSets
    pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor]


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


def start(settings: Settings, progress: Progress | None = None) -> Runtime:
    """Load and warm the model, and start the machinery.

    Args:
        settings: Of this worker.
        progress: Called with bytes done and bytes in all if weights have to be fetched.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE` or `DEVICE_MISSING`; one sentence.
    """
    global _current  # noqa: PLW0603  # the one place where a process keeps its state
    warnings.filterwarnings("ignore", module=r"PIL\.")  # hostile pictures must not flood the log
    device = pin_device(settings.device, torch.cuda.device_count())
    replicas = _replicas(settings, device.name)
    if replicas > 1:
        torch.set_num_threads(1)  # one thread a replica beats threads inside a forward pass
    engine = _load(settings, device.name, progress)
    _current = _assemble(settings, device, engine, replicas)
    _current.batcher.start()
    return _current


def stop() -> None:
    """Finish what is in hand and end all threads."""
    global _current  # as above
    if _current is None:
        return
    runtime, _current = _current, None
    # Upstream first: each stage may still hand its work to the next.
    fetch_pool, decode_pool = runtime.pools
    fetch_pool.shutdown(wait=True)
    runtime.batcher.stop()
    decode_pool.shutdown(wait=True)


def _load(settings: Settings, device: str, progress: Progress | None) -> Engine:
    try:
        engine = load_engine(
            settings.model,
            device=device,
            precision=None if settings.precision == "auto" else settings.precision,
            preprocessing=settings.preprocessing,
            max_pixels=settings.max_pixels,
            buckets=settings.buckets,
            cache_dir=settings.cache_dir,
            mirror=settings.mirror,
            offline=settings.offline,
            progress=progress,
        )
    except ClipEngineError as error:
        raise ServiceError(
            f"The model CLIP_WORKER_MODEL={settings.model!r} can't be loaded. {error}",
            "MODEL_UNAVAILABLE",
        ) from error
    engine.warm()
    return engine


def _assemble(settings: Settings, device: PinnedDevice, engine: Engine, replicas: int) -> Runtime:
    redis = connect(settings.redis_url)
    fetch_pool = ThreadPoolExecutor(settings.fetch_threads, thread_name_prefix="fetch")
    decode_pool = ThreadPoolExecutor(
        settings.decode_threads or _cores(), thread_name_prefix="decode"
    )
    batcher: Batcher[Tensor, Tensor] = Batcher(
        lambda pixels: engine.encode_pixels(pixels).unbind(),
        max_batch=settings.max_batch,
        runners=replicas,
        max_wait_s=settings.max_wait_s,
    )
    pipeline = Pipeline(
        engine=engine,
        fetcher=_fetcher(settings, redis),
        batcher=batcher,
        fetch_pool=fetch_pool,
        decode_pool=decode_pool,
    )
    pools = (fetch_pool, decode_pool)
    return Runtime(settings, device, engine, batcher, pipeline, LabelSets(redis), pools)


def _fetcher(settings: Settings, redis: Redis) -> Fetcher:
    policy = FetchPolicy(
        file_roots=settings.file_roots,
        allow_networks=settings.allow_networks,
        allow_private=settings.allow_private,
        object_store_schemes=settings.object_store_schemes,
    )
    limits = FetchLimits(max_bytes=settings.max_bytes, total_s=settings.fetch_timeout_s)
    return Fetcher(policy, limits, UploadStore(redis))


def _replicas(settings: Settings, device: str) -> int:
    return settings.replicas or (_cores() if device == "cpu" else 1)


def _cores() -> int:
    """Cores that this process may use, which a container may have fewer of than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
