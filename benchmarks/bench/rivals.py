"""What clip-worker is compared with, each as its users would run it."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench.contender import Contender
from benchmarks.bench.program import celery_arguments
from benchmarks.bench.weights import Weights

PLAIN, BATCHES, PIPELINE = "plain Celery + open_clip", "celery-batches + open_clip", "transformers"
UNTUNED = "plain Celery + open_clip, torch's threads"

# Prefork has a child a core. With torch's own default, a thread a core in each, the children fight
# over the cores and take twice to eight times as long: the rivals are given the better setting.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def with_models(weights: Weights) -> list[Contender]:
    """(b), (c) and (d) of the module docstrings in `contenders`, tuned."""
    given = _variables(weights) | ONE_THREAD
    return [
        _celery(PLAIN, "plain_open_clip", ("-P", "prefork"), given),
        _celery(BATCHES, "batches_open_clip", ("-P", "prefork"), given),
        _celery(PIPELINE, "pipeline_transformers", ("-P", "prefork"), given),
    ]


def untuned(weights: Weights) -> Contender:
    """(b) as it runs if nobody thinks of torch's threads."""
    return _celery(UNTUNED, "plain_open_clip", ("-P", "prefork"), _variables(weights))


def without_models() -> list[Contender]:
    """celery-batches and Celery's pools around a task that does nothing."""
    return [
        _celery("celery-batches", "batches_no_op", ("-P", "threads", "-c", "1")),
        _celery("Celery, threads", "plain_no_op", ("-P", "threads", "-c", "8")),
        _celery("Celery, prefork", "plain_no_op", ("-P", "prefork", "-c", "2")),
        _celery("Celery, solo", "plain_no_op", ("-P", "solo", "-c", "1")),
    ]


def _celery(
    name: str, module: str, options: tuple[str, ...], variables: Mapping[str, str] | None = None
) -> Contender:
    return Contender(
        name, lambda url: celery_arguments(module, url, *options), lambda _: variables or {}
    )


def _variables(weights: Weights) -> dict[str, str]:
    return {
        "BENCH_OPEN_CLIP_NAME": weights.architecture.open_clip_name,
        "BENCH_STATE_DICT": str(weights.state_dict),
        "BENCH_FOLDER": str(weights.folder),
    }
