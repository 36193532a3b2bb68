"""Handlers of Celery's signals of a worker's start and end.

The model is loaded in `worker_init`, which Celery sends before it opens the queue: a worker that
can't load its model ends there, with one sentence, and has taken no task.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery import concurrency
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import EX_FAILURE
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_init,
    worker_init,
    worker_ready,
    worker_shutdown,
)

from clip_worker.client.sign_tasks import sign_tasks
from clip_worker.errors import ServiceError
from clip_worker.quoting import without_password
from worker.health.service import HealthService, health_service
from worker.logs.say import is_json, say
from worker.logs.setup import begin_json, set_up, show_minutes
from worker.runtime import gc_tuning as garbage
from worker.runtime import state as runtime
from worker.runtime.download_progress import download_progress
from worker.runtime.eviction_check import check_eviction
from worker.runtime.precision_check import check_precision
from worker.runtime.stopping import status_of
from worker.runtime.task_pool import TaskPool
from worker.settings import Settings
from worker.variables import metrics_port_warning

if TYPE_CHECKING:
    from clip_engine.inference.warm_up import WarmUp

SHOWN_GRAPHS = 4  # of more, the first two and the last
POOLS = ("threads", "solo")  # those whose tasks run in the process that holds the model


@celeryd_init.connect
def begin_log(instance: Any, **_: object) -> None:
    """Write JSON, if that is set, before Celery's first warning; its log is set up later."""
    if is_json():
        begin_json(Settings.load(), instance)


@worker_init.connect
def load_model(sender: Any, **_: object) -> None:
    """Start this process's runtime, or end the process with one sentence and exit status 1."""
    # Celery's advice, a page long, to cancel tasks when the connection is lost: ours go on.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, module="celery")
    try:
        sender.pool_cls = _checked_pool(sender.pool_cls)
        settings = Settings.load()
        if warning := metrics_port_warning(os.environ):
            say(warning, level=logging.WARNING)
        service = health_service(sender) or HealthService(settings)
        service.start()
        for warning in check_eviction(settings):
            say(warning, level=logging.WARNING)
        if settings.signing_keys:  # what chains, callbacks and retries send goes to workers, too
            sign_tasks(settings.signing_keys[0].get_secret_value(), prefix="")
        queues = _queues(sender.app)
        say(f"loading {settings.model} ...")
        service.health.starting(f"The worker loads the model {settings.model}.")
        with download_progress() as progress:
            here = runtime.start(
                settings,
                service,
                progress,
                queues=queues,
                worker=sender.hostname,
                warmed=_say_what_was_recorded,
            )
    except ServiceError as error:
        say(str(error), level=logging.CRITICAL)
        raise SystemExit(EX_FAILURE) from None
    # Registered first, it is called last: after Celery has saved its state and its pidfile is gone.
    atexit.register(here.stopping.run_anew)
    settings = here.settings
    for warning in filter(None, (check_precision(here.engine.model), here.unused_gpu())):
        say(warning, level=logging.WARNING)
        here.report.warn(warning)
    garbage.settle(settings.gc_threshold)
    say(
        f"{here.engine.identity.name} ({here.engine.identity.digest[:12]}) is ready on "
        f"{here.device.name}, {here.engine.model.precision}, "
        f"batches of up to {settings.largest_batch}, "
        f"{_named(queues)} at {without_password(settings.redis_url)}"
    )


@after_setup_logger.connect
def format_log(logger: logging.Logger, loglevel: int, **_: object) -> None:
    """Set up the log, which Celery has just done in its own way."""
    if here := runtime.running():
        set_up(logger, here.settings)
        show_minutes(loglevel)


@after_setup_task_logger.connect
def format_task_log(logger: logging.Logger, **_: object) -> None:
    """Set up the log of Celery's tasks, which has handlers of its own."""
    if here := runtime.running():
        set_up(logger, here.settings)


@worker_ready.connect
def begin(**_: object) -> None:
    """Tell probes that tasks are taken."""
    runtime.current().service.health.serving()


@worker_shutdown.connect
def end(sender: Any = None, **_: object) -> None:
    """Finish what has begun and end all threads."""
    here, status = runtime.running(), status_of(getattr(sender, "exitcode", None))
    if runtime.stop(status) and here:  # a stuck thread would keep the process while it is stuck
        here.stopping.leave(status)
    if here:
        here.service.stop()


def _say_what_was_recorded(warm_up: WarmUp) -> None:
    sizes = [str(size) for size in warm_up.graphs]
    if len(sizes) > SHOWN_GRAPHS:
        sizes[2:-1] = ["..."]
    if sizes:
        say(f"recorded CUDA graphs of {', '.join(sizes)} images in {warm_up.seconds:.1f} s")


def _queues(app: Any) -> list[str]:
    """Names of the queues to take tasks from: that of the settings, or those of `-Q`."""
    queues = app.amqp.queues
    names = list(queues.consume_from)
    # Or else Celery consumes, from its next reconnect on, every queue that it has published to.
    queues.select(names)
    return names


def _named(queues: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in queues)
    return f"queue {names}" if len(queues) == 1 else f"queues {names}"


def _checked_pool(pool: Any) -> Any:
    """The pool to use: one that sees the model, and that of threads as we have it."""
    implementation = concurrency.get_implementation(pool)
    known = {concurrency.get_implementation(name): name for name in POOLS} | {TaskPool: "threads"}
    if implementation not in known:
        raise ServiceError(
            f"The pool is {implementation.__module__.rpartition('.')[2]!r}, whose tasks would not "
            "see the one model of this process; start with -P threads (the default) or -P solo.",
            "WRONG_POOL",
        )
    return TaskPool if known[implementation] == "threads" else implementation
