"""`clip-worker`: runs a command and converts its errors to messages and exit statuses.

A command's module is imported only when the command is run, so that `clip-worker --help` is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from clip_worker.errors import ClipWorkerError, InvalidRequestError
from clip_worker.version import __version__
from worker.cli.lazy_group import LazyGroup
from worker.cli.output.usage_error import WRONG_INPUT_STATUS, say

FAILURE_STATUS = 1
INTERRUPTED_STATUS = 130  # what a shell reports for a program that Ctrl-C ended

# Name of each command, and of its module, to its line in `clip-worker --help`.
COMMANDS = {
    "start": "Run a worker: load the model, take tasks from the queue, store results.",
    "classify": "Find the labels that fit images best: files, folders, globs or URLs.",
    "watch": "Tag images as they arrive in a folder or a bucket, each once.",
    "retag": "Classify stored embeddings with other labels, without the images.",
    "search": "Find stored images by a text or by another image.",
    "labels": "Check lists of labels, and keep them in Redis as label sets.",
    "status": "Show queues, workers and what looks wrong, live or once.",
    "health": "Ask this machine's workers how they are; exit status 0 or 1.",
    "dead": "List, show, replay or purge messages that the workers gave up.",
    "doctor": "Check Redis, the queue, rights, the model and this machine, with remedies.",
    "exporter": "Serve what queues hold to Prometheus and autoscalers, from Redis alone.",
    "tune": "Find the fastest settings for this machine, your images and labels.",
    "models": "List, download and verify the published models, or describe a checkpoint.",
    "demo": "Tag 2,000 drawn images on this machine, with a Redis and a worker of its own.",
}
# The extra; the others work with the client alone.
NEEDS_WORKER = ("start", "retag", "tune", "models", "demo")


@click.group(
    cls=LazyGroup,
    package="worker.cli",
    lines=COMMANDS,
    needs_worker=NEEDS_WORKER,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="clip-worker", message="%(prog)s %(version)s")
def commands() -> None:
    """Zero-shot image tagging as a queue job: CLIP on Celery workers, results in Redis.

    Try `clip-worker demo` first: it needs no network, no weights and no Redis.
    """


def main() -> None:
    """Run `clip-worker` with this process's arguments, and exit."""
    if isinstance(sys.stdout, TextIOWrapper):  # a label may have characters not in the locale
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `clip-worker`.

    Returns:
        Exit status: 0; 1 if something failed; 2 for invalid input; 130 after Ctrl-C.
    """
    try:
        return commands.main(arguments, prog_name="clip-worker", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ClipWorkerError as error:
        say(str(error))
        return WRONG_INPUT_STATUS if isinstance(error, InvalidRequestError) else FAILURE_STATUS
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED_STATUS
