"""`clip-worker start`: this process becomes a worker, or the supervisor of several.

Settings and Redis are checked before a model is loaded.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from functools import partial

import click
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_init, worker_ready

from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import ClipWorkerError
from clip_worker.redis.url import DEFAULT_REDIS_URL
from worker.celery import app
from worker.cli.entry import FAILURE_STATUS
from worker.cli.output.usage_error import WRONG_INPUT_STATUS, WrongInputError
from worker.cli.redis_wait import wait_for_redis
from worker.cli.supervisor.count import choose_workers
from worker.cli.supervisor.ports import check_ports
from worker.cli.supervisor.readiness import is_supervised, ready_sender
from worker.cli.supervisor.run import run_workers
from worker.health.service import HealthService, hand_over
from worker.logs.say import is_json, say
from worker.settings import Settings, SettingsError
from worker.variables import ENV_PREFIX

READY_SENTENCE = "taking tasks; press Ctrl-C to finish those in flight and exit"
LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command("start")
@click.option("--redis-url", metavar="URL", help=f"Redis to take tasks from. [{DEFAULT_REDIS_URL}]")
@click.option("--model", help="Name of a model (docs/models.md), or a file or folder. [ViT-B/32]")
@click.option(
    "--device", help="auto, cpu, cuda, cuda:N, cuda:GPU-<uuid> or cuda:MIG-<uuid>. [auto]"
)
@click.option(
    "--workers",
    metavar="N",
    help="Workers of this machine, as processes; they share its cores and memory. "
    "[auto: one per visible GPU, or 1]",
)
@click.option("--queue", help=f"Queue to take tasks from. [{DEFAULT_QUEUE}]")
@click.option(
    "--concurrency",
    metavar="N",
    help="Maximum number of images in flight. [1024, or 8 batches if that is more]",
)
@click.option(
    "--loglevel",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="warning",
    envvar=f"{ENV_PREFIX}LOGLEVEL",
    show_default=True,
    help="info and debug also show Celery's banner and a line per task.",
)
@click.option(
    "--redis-wait",
    type=click.FloatRange(min=0),
    default=30.0,
    metavar="SECONDS",
    envvar=f"{ENV_PREFIX}REDIS_WAIT_S",
    show_default=True,
    help="Longest wait for a Redis that is not available yet.",
)
def command(loglevel: str, redis_wait: float, **given: str | None) -> int:
    """Run a worker until SIGTERM or Ctrl-C; it then finishes the tasks in flight and exits.

    Every option can also be set by an environment variable, such as CLIP_WORKER_MODEL for --model;
    the option takes precedence. Further settings are environment variables only: docs/settings.md
    lists them.

    With several workers this process only supervises them: it starts one again that ends, and
    passes signals on.
    """
    try:
        return _run(loglevel, redis_wait, given)
    except (WrongInputError, ClipWorkerError) as error:
        if not is_json():
            raise
        say(error.message, level=logging.CRITICAL)
        return WRONG_INPUT_STATUS if isinstance(error, WrongInputError) else FAILURE_STATUS


def _run(loglevel: str, redis_wait: float, given: dict[str, str | None]) -> int:
    send_ready = ready_sender(os.environ)
    settings = _settings(given)
    supervised = is_supervised(os.environ)
    count, variables = (1, {}) if supervised else choose_workers(settings, say)
    wait = partial(wait_for_redis, [settings.redis_url, settings.results_url], redis_wait, say)
    if count > 1:
        check_ports(settings.metrics_port, count)
        wait()
        options = _worker_options(count, loglevel, redis_wait)
        return run_workers(count, variables | options, settings.metrics_port)
    service = HealthService(settings, workers=settings.workers or 1 if supervised else 1)
    service.start()
    service.health.starting("The worker waits for Redis.")
    wait()
    service.health.starting("The worker loads its libraries.")
    worker_ready.connect(send_ready, weak=False)
    return run_worker(app, getattr(logging, loglevel.upper()), service)


def run_worker(celery: Celery, loglevel: int, service: HealthService) -> int:
    """Run Celery's worker in this process.

    Args:
        celery: The application, not configured yet.
        loglevel: A level of `logging`.
        service: Tells how the worker is; it has been started.

    Returns:
        Celery's exit status: 0 after SIGTERM, 1 after Ctrl-C, although both shut down cleanly.

    Raises:
        SystemExit: The worker can't start, as was said; its code is 1.
    """
    # Celery warns about running as root because of pickle, which is never accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker_init.connect(partial(hand_over, service), weak=False)
    worker_ready.connect(_say_ready)
    remote_control = celery.conf.worker_enable_remote_control
    worker = celery.Worker(
        # Workers on one host need distinct names.
        hostname=f"clip-{os.getpid()}@{socket.gethostname()}",
        loglevel=loglevel,
        quiet=loglevel > logging.INFO,
        without_mingle=not remote_control,
        without_gossip=not remote_control,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _settings(options: dict[str, str | None]) -> Settings:
    """The settings, after putting the options into the environment, where Celery's loader reads.

    Raises:
        WrongInputError: All invalid settings, one per line.
    """
    for name, value in options.items():
        if value is not None:
            os.environ[ENV_PREFIX + name.upper()] = value
    try:
        return Settings.load()
    except SettingsError as error:
        raise WrongInputError(str(error)) from error


def _worker_options(count: int, loglevel: str, redis_wait: float) -> dict[str, str]:
    """Options that aren't in the environment yet, as variables for a worker."""
    values = {"WORKERS": count, "LOGLEVEL": loglevel, "REDIS_WAIT_S": redis_wait}
    return {ENV_PREFIX + name: str(value) for name, value in values.items()}


def _say_ready(**_: object) -> None:
    say(READY_SENTENCE, file=sys.__stderr__)  # Celery redirects sys.stderr to its log
