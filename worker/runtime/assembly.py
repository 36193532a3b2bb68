"""Builds the parts of a worker process from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from clip_engine.acceleration import Acceleration
from clip_engine.errors import ClipEngineError
from clip_engine.inference.buckets import buckets_up_to
from clip_engine.loader import load_engine
from clip_worker.errors import ServiceError
from clip_worker.redis.label_sets import LabelSets
from clip_worker.redis.uploads import UploadStore
from clip_worker.redis.url import connect
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of
from worker.pipeline.embedding_stage import EmbeddingStage
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.upload_stage import UploadStage
from worker.preparation.pool import PreparationPool
from worker.preparation.settings import PreparationSettings
from worker.runtime.cores import cores
from worker.runtime.memory_limit import memory_left
from worker.runtime.text_feature_assembly import share_text_features
from worker.sources import FetchLimits, FetchPolicy

if TYPE_CHECKING:
    from clip_engine.engine import Engine
    from worker.metrics.instruments import Instruments
    from worker.pipeline.encode_stage import Begin
    from worker.settings import Settings
    from worker.tracing.traces import Traces

Progress = Callable[[int, int | None], None]

LEAST_IMAGE_MEMORY_BYTES = 16 * 1024 * 1024
USUAL_IMAGE_MEMORY_BYTES = 1024 * 1024 * 1024  # where nothing says how much there is
MOST_IMAGE_MEMORY_BYTES = 4 * 1024 * 1024 * 1024  # more would not make a worker faster
GPU_REPLICAS = 2
UPLOADS_SHARE = 8  # part of that memory for uploads that were read and wait


@contextmanager
def named_in_errors(settings: Settings) -> Iterator[None]:
    """Name the model in errors of the engine that are raised inside the block.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE`; one sentence.
    """
    try:
        yield
    except ClipEngineError as error:
        raise ServiceError(
            f"The model CLIP_WORKER_MODEL={settings.model!r} can't be loaded. {error}",
            "MODEL_UNAVAILABLE",
        ) from error


def load(settings: Settings, device: str, progress: Progress | None) -> Engine:
    """The engine, not yet warm.

    Raises:
        ServiceError: `MODEL_UNAVAILABLE`; one sentence.
    """
    with named_in_errors(settings):
        return load_engine(
            settings.model,
            device=device,
            activation=settings.activation,
            precision=None if settings.precision == "auto" else settings.precision,
            preprocessing=settings.preprocessing,
            max_pixels=settings.max_pixels,
            formats=settings.image_formats,
            buckets=None if settings.max_batch is None else buckets_up_to(settings.max_batch),
            acceleration=replace(Acceleration.without(settings.disable), compiled=settings.compile),
            replicas=replicas(settings, device),
            cache_dir=settings.cache_dir,
            mirror=settings.mirror,
            offline=settings.offline,
            progress=progress,
        )


def assemble(  # noqa: PLR0913  # collaborators are injected
    settings: Settings,
    engine: Engine,
    *,
    batches_at_once: int,
    begin: Begin,
    device_lost: Callable[[BaseException], None],
    instruments: Instruments,
    traces: Traces | None,
) -> tuple[PreparationPool, Pipeline]:
    """The preparation pool and the pipeline, neither of them started.

    Args:
        settings: Of this worker.
        engine: The model.
        batches_at_once: Replicas of the model.
        begin: Asked before each batch which messages may run.
        device_lost: Called when the device fails for good.
        instruments: Count what happens.
        traces: Trace images; None if nobody wants that.
    """
    redis = connect(settings.redis_url)
    share_text_features(settings, engine)
    image_memory = image_memory_bytes(settings)
    pool = PreparationPool(
        preparation_settings(settings, engine, image_memory, batches_at_once),
        lambda images: pipeline.prepared(images),  # noqa: PLW0108  # it is not made yet
        lambda images: pipeline.fetched(images),  # noqa: PLW0108  # likewise
    )
    pipeline = Pipeline(
        engine=engine,
        pool=pool,
        label_sets=LabelSets(redis),
        uploads=partial(
            UploadStage,
            UploadStore(redis),
            max_bytes=settings.max_bytes,
            most_bytes=image_memory // UPLOADS_SHARE,
        ),
        embeddings=embedding_stage(settings, engine),
        begin=begin,
        device_lost=device_lost,
        retry=RetryPolicy(attempts=settings.fetch_attempts, total_s=settings.retry_total_s),
        fetches=settings.fetch_threads,
        most_a_host=settings.fetches_per_host,
        runners=batches_at_once,
        cores=cores_to_share(settings, engine.model.device.type, batches_at_once),
        max_wait_s=settings.max_wait_s,
        instruments=instruments,
        traces=traces,
        single_flight=settings.single_flight,
    )
    return pool, pipeline


def preparation_settings(
    settings: Settings, engine: Engine, memory_bytes: int, batches_at_once: int
) -> PreparationSettings:
    """Settings of the preparation processes."""
    return PreparationSettings(
        transform=engine.preprocessor.transform,
        processes=settings.preparation_processes or cores(settings.workers),
        # The batches that run, one that fills, and what the processes are writing meanwhile.
        slots=(batches_at_once + 2) * settings.largest_batch,
        fetch_threads=settings.fetch_threads,
        mode=settings.preprocessing,
        max_pixels=settings.max_pixels,
        formats=settings.image_formats,
        policy=FetchPolicy(
            file_roots=settings.file_roots,
            allow_networks=settings.allow_networks,
            allow_private=settings.allow_private,
            object_store_schemes=settings.object_store_schemes,
        ),
        limits=FetchLimits(max_bytes=settings.max_bytes, total_s=settings.fetch_timeout_s),
        memory_bytes=memory_bytes,
        decode_cpu_s=settings.decode_cpu_s,
        asks=settings.embedding_store is not None,
    )


def embedding_stage(settings: Settings, engine: Engine) -> Callable[..., EmbeddingStage] | None:
    """Makes the stage that keeps embeddings, if they are to be kept."""
    if settings.embedding_store is None:
        return None
    store = open_store(settings.embedding_store, max_bytes=settings.embedding_store_max_bytes)
    return partial(EmbeddingStage, store, space_of(engine))


def image_memory_bytes(settings: Settings) -> int:
    """By default half of what is left beside the model: the other half is for all else.

    Of both, one of several workers on this machine takes its share.
    """
    left = memory_left()
    half = USUAL_IMAGE_MEMORY_BYTES if left is None else left // 2 // (settings.workers or 1)
    usual = max(LEAST_IMAGE_MEMORY_BYTES, min(half, MOST_IMAGE_MEMORY_BYTES))
    return settings.image_memory_bytes or usual


def replicas(settings: Settings, device: str) -> int:
    """Batches that run at the same time: on a GPU one is uploaded while another computes."""
    return settings.replicas or (cores(settings.workers) if device == "cpu" else GPU_REPLICAS)


def cores_to_share(settings: Settings, device: str, batches_at_once: int) -> int | None:
    """Cores that the forward passes divide; None where torch's number of threads stays."""
    return cores(settings.workers) if device == "cpu" and batches_at_once > 1 else None
