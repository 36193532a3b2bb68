"""`clip-worker demo`: tags a dozen images on this machine, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.cli.demo.contact_sheet import print_contact_sheet
from worker.cli.demo.embedded_redis import EmbeddedRedis, embedded_redis
from worker.cli.demo.images import DEMO_IMAGES, DemoImage, image_folder
from worker.cli.demo.report import Answer, print_answers, print_next_steps, print_timing
from worker.cli.demo.signals import Interrupted, Interrupts
from worker.cli.demo.worker import DemoWorker, forget_settings, run_demo_worker
from worker.cli.output.usage_error import say
from worker.client import Client
from worker.client.handle import Handle, as_completed
from worker.contract import Classification
from worker.errors import ClipWorkerError, ResultTimeoutError, TemporaryError

PLAIN_WIDTH = 110  # columns where there is no terminal
ANSWER_LIMIT_S = 60.0
_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class _Stage:
    """What runs while the demo does."""

    redis: EmbeddedRedis
    worker: DemoWorker


@click.command("demo")
def command() -> int:
    """Start a Redis and a worker, ask it about a dozen images, show answers and timing.

    It needs no network and no weights: a small model that knows drawn shapes comes with the
    package. Everything that it starts, and every file that it writes, is gone when it ends.
    """
    forget_settings()
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            status = _run(console, interrupts, started)
    except Interrupted as interrupted:
        say("stopped; the demo's worker and Redis are gone.")
        return interrupted.exit_status
    print_next_steps(console)
    return status


def _run(console: Console, interrupts: Interrupts, started: contextlib.ExitStack) -> int:
    console.print(
        "[bold]clip-worker demo[/]: a queue, a worker and a dozen images, all on this machine."
    )
    with interrupts.held():
        stage = _start(started)
    _tell(console, "Redis", f"{stage.redis.description}, for the demo alone")
    _tell(console, "images", f"{len(DEMO_IMAGES)} drawings, each a task of its own")
    print_contact_sheet(console, [image.path for image in DEMO_IMAGES])
    with _waiting(console, "the worker is loading torch and the model"):
        ready = stage.worker.wait_until_ready()
    _tell(console, "worker", ready.partition(", queue ")[0])
    console.print()
    return _show(console, stage)


def _show(console: Console, stage: _Stage) -> int:
    start = time.monotonic()
    with Client(stage.redis.url) as client:
        answers = _ask(client, stage, console)
    print_answers(console, answers)
    print_timing(console, answers, time.monotonic() - start)
    return 0 if all(answer.result for answer in answers) else 1


def _start(started: contextlib.ExitStack) -> _Stage:
    # The last to start is the first to end: worker, Redis, files.
    folder = Path(started.enter_context(TemporaryDirectory(prefix="clip-worker-demo-"))).resolve()
    redis = started.enter_context(embedded_redis())
    worker = started.enter_context(run_demo_worker(redis, folder, image_folder()))
    return _Stage(redis, worker)


def _ask(client: Client, stage: _Stage, console: Console) -> list[Answer]:
    """Send each image as a task of its own and collect the answers, in the images' order."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    disabled = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=disabled
    ) as progress:
        task = progress.add_task("tasks answered", total=len(DEMO_IMAGES))
        asked = {
            client.classify(image.path.as_uri(), image.labels, k=image.k): image
            for image in DEMO_IMAGES
        }
        answers = {}
        for handle in _ended(list(asked), stage.worker):
            answers[asked[handle].file_name] = _answer(asked[handle], handle)
            progress.advance(task)
    return [answers[image.file_name] for image in DEMO_IMAGES]


def _ended(
    handles: list[Handle[Classification]], worker: DemoWorker
) -> Iterator[Handle[Classification]]:
    """Give the tasks as they end, for as long as the worker lives."""
    end = time.monotonic() + ANSWER_LIMIT_S
    while handles:
        try:
            handle = next(as_completed(handles, timeout=_TICK_S))
        except ResultTimeoutError as error:
            worker.check()
            if time.monotonic() > end:
                raise TemporaryError(
                    f"{len(handles)} tasks have no answer after {ANSWER_LIMIT_S:g} s."
                ) from error
        else:
            handles.remove(handle)
            yield handle


def _answer(image: DemoImage, handle: Handle[Classification]) -> Answer:
    try:
        return Answer(image, handle.get(ANSWER_LIMIT_S))
    except ClipWorkerError as error:
        return Answer(image, None, str(error))


def _tell(console: Console, what: str, sentence: str) -> None:
    console.print(f"  [green]{what:<9}[/]", end="")
    console.print(sentence, markup=False, soft_wrap=True)


def _waiting(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    return console.status(what) if console.is_terminal else contextlib.nullcontext()
