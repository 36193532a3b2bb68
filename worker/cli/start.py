"""`clip-worker start`: this process becomes a worker.

Settings and Redis are checked before the model is loaded.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings

import click
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_ready

from worker.celery import app
from worker.cli.output.usage_error import WrongInputError, say
from worker.cli.redis_wait import wait_for_redis
from worker.settings import DEFAULT_QUEUE, DEFAULT_REDIS_URL, ENV_PREFIX, Settings, SettingsError

READY_SENTENCE = "taking tasks; Ctrl-C finishes those in hand and ends"
LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command("start")
@click.option("--redis-url", metavar="URL", help=f"Where tasks come from. [{DEFAULT_REDIS_URL}]")
@click.option("--model", help="`ViT-B/32` or another published name, `demo`, or a file. [ViT-B/32]")
@click.option("--device", help="auto, cpu, cuda or cuda:N. [auto]")
@click.option("--queue", help=f"Queue that tasks are taken from. [{DEFAULT_QUEUE}]")
@click.option(
    "--concurrency",
    metavar="N",
    help="Most pictures in hand at a time. [1024, or 8 batches if that is more]",
)
@click.option(
    "--loglevel",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="warning",
    envvar=f"{ENV_PREFIX}LOGLEVEL",
    show_default=True,
    help="From info on, Celery's banner and a line a task too.",
)
@click.option(
    "--redis-wait",
    type=click.FloatRange(min=0),
    default=30.0,
    metavar="SECONDS",
    envvar=f"{ENV_PREFIX}REDIS_WAIT_S",
    show_default=True,
    help="Longest wait for a Redis that doesn't answer yet.",
)
def command(loglevel: str, redis_wait: float, **options: str | None) -> int:
    """Run a worker until SIGTERM or Ctrl-C, which let it finish what it has in hand.

    Every option has an environment variable, CLIP_WORKER_MODEL for --model; the option wins. More
    settings have a variable only: docs/settings.md lists them.
    """
    settings = _settings(options)
    wait_for_redis([settings.redis_url, settings.results_url], redis_wait, say)
    return run_worker(app, getattr(logging, loglevel.upper()))


def run_worker(celery: Celery, loglevel: int) -> int:
    """Run Celery's worker in this process.

    Args:
        celery: The application, not yet configured.
        loglevel: Of `logging`.

    Returns:
        Celery's exit status: 0 after SIGTERM, 1 after Ctrl-C, even though both end in order.

    Raises:
        SystemExit: The model can't be loaded; its code is the sentence to print.
    """
    # Root may not be wise, but nothing here unpickles, and in a container it is the rule.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker_ready.connect(_say_ready)
    remote_control = celery.conf.worker_enable_remote_control
    worker = celery.Worker(
        # Workers of one host need names of their own.
        hostname=f"clip-{os.getpid()}@{socket.gethostname()}",
        loglevel=loglevel,
        quiet=loglevel > logging.INFO,
        without_mingle=not remote_control,
        without_gossip=not remote_control,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _settings(options: dict[str, str | None]) -> Settings:
    """Settings with the options, which go into the environment: Celery's loader reads them there.

    Raises:
        WrongInputError: All that is wrong, one a line.
    """
    for name, value in options.items():
        if value is not None:
            os.environ[ENV_PREFIX + name.upper()] = value
    try:
        return Settings.load()
    except SettingsError as error:
        raise WrongInputError(str(error)) from error


def _say_ready(**_: object) -> None:
    say(READY_SENTENCE, sys.__stderr__)  # Celery makes a log of sys.stderr
