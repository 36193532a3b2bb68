"""`clip-worker demo`: tags a dozen images on this machine, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clip_engine.demo import DemoPicture, draw_demo_pictures
from worker.cli.demo.contact_sheet import print_contact_sheet
from worker.cli.demo.embedded_redis import EmbeddedRedis, embedded_redis
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

Asked = tuple[DemoPicture, Handle[Classification]]


@dataclass(frozen=True, slots=True)
class _Stage:
    """What runs while the demo does."""

    pictures: Path
    redis: EmbeddedRedis
    worker: DemoWorker


@click.command("demo")
def command() -> int:
    """Start a Redis and a worker, ask it about a dozen drawn pictures, show answers and timing.

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
        say("stopped; the demo's worker, Redis and pictures are gone.")
        return interrupted.exit_status
    print_next_steps(console)
    return status


def _run(console: Console, interrupts: Interrupts, started: contextlib.ExitStack) -> int:
    console.print(
        "[bold]clip-worker demo[/]: a queue, a worker and a dozen pictures, all on this machine."
    )
    with interrupts.held():
        stage = _start(started)
    _tell(console, "Redis", f"{stage.redis.description}, for the demo alone")
    with _waiting(console, "drawing pictures"):
        pictures = draw_demo_pictures(stage.pictures)
    _tell(console, "pictures", f"{len(pictures)} drawn, each a task of its own")
    print_contact_sheet(console, [stage.pictures / picture.file_name for picture in pictures])
    with _waiting(console, "the worker is loading torch and the model"):
        ready = stage.worker.wait_until_ready()
    _tell(console, "worker", ready.partition(", queue ")[0])
    console.print()
    return _show(console, stage, pictures)


def _show(console: Console, stage: _Stage, pictures: Sequence[DemoPicture]) -> int:
    start = time.monotonic()
    with Client(stage.redis.url) as client:
        answers = _ask(client, stage, pictures, console)
    print_answers(console, answers)
    print_timing(console, answers, time.monotonic() - start)
    return 0 if all(answer.result for answer in answers) else 1


def _start(started: contextlib.ExitStack) -> _Stage:
    # The last to start is the first to end: worker, Redis, files.
    folder = Path(started.enter_context(TemporaryDirectory(prefix="clip-worker-demo-"))).resolve()
    pictures = folder / "pictures"
    pictures.mkdir()
    redis = started.enter_context(embedded_redis())
    worker = started.enter_context(run_demo_worker(redis, folder, pictures))
    return _Stage(pictures, redis, worker)


def _ask(
    client: Client, stage: _Stage, pictures: Sequence[DemoPicture], console: Console
) -> list[Answer]:
    """Send each picture as a task of its own and collect the answers, in the pictures' order."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    disabled = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=disabled
    ) as progress:
        task = progress.add_task("tasks answered", total=len(pictures))
        asked = {
            client.classify(
                (stage.pictures / picture.file_name).as_uri(), picture.labels, k=picture.k
            ): picture
            for picture in pictures
        }
        answers = {}
        for handle in _ended(list(asked), stage.worker):
            answers[asked[handle].file_name] = _answer(asked[handle], handle)
            progress.advance(task)
    return [answers[picture.file_name] for picture in pictures]


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


def _answer(picture: DemoPicture, handle: Handle[Classification]) -> Answer:
    try:
        return Answer(picture, handle.get(ANSWER_LIMIT_S))
    except ClipWorkerError as error:
        return Answer(picture, None, str(error))


def _tell(console: Console, what: str, sentence: str) -> None:
    console.print(f"  [green]{what:<9}[/]", end="")
    console.print(sentence, markup=False, soft_wrap=True)


def _waiting(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    return console.status(what) if console.is_terminal else contextlib.nullcontext()
