"""`clip-worker demo`: classifies a dozen images on this machine and leaves nothing behind."""

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

from clip_worker import Client
from clip_worker.client.handle import Handle, as_completed
from clip_worker.contract import Classification
from clip_worker.errors import ClipWorkerError, ResultTimeoutError, TemporaryError
from worker.cli.demo.contact_sheet import print_contact_sheet
from worker.cli.demo.embedded_redis import EmbeddedRedis, embedded_redis
from worker.cli.demo.images import DEMO_IMAGES, DemoImage, image_folder
from worker.cli.demo.report import DemoResult, print_next_steps, print_results, print_timing
from worker.cli.demo.signals import Interrupted, Interrupts
from worker.cli.demo.worker import DemoWorker, clear_settings, run_demo_worker
from worker.cli.output.usage_error import say

PLAIN_WIDTH = 110  # columns if stdout is not a terminal
RESULT_LIMIT_S = 60.0
_CHECK_S = 0.5


@dataclass(frozen=True, slots=True)
class _Services:
    """What the demo has started."""

    redis: EmbeddedRedis
    worker: DemoWorker


@click.command("demo")
def command() -> int:
    """Start a Redis and a worker, classify a dozen images, and show results and timing.

    It needs no network and no weights: the package includes a small model that recognises drawn
    shapes. Everything that it starts, and every file that it writes, is gone when it ends.
    """
    clear_settings()
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            status = _run(console, interrupts, started)
    except Interrupted as interrupted:
        say("interrupted; the demo's worker and Redis were stopped.")
        return interrupted.exit_status
    print_next_steps(console)
    return status


def _run(console: Console, interrupts: Interrupts, started: contextlib.ExitStack) -> int:
    console.print(
        "[bold]clip-worker demo[/]: a queue, a worker and a dozen images, all on this machine."
    )
    with interrupts.held():
        services = _start(started)
    _print_line(console, "Redis", f"{services.redis.description}, only for the demo")
    _print_line(console, "images", f"{len(DEMO_IMAGES)} drawings, one task each")
    print_contact_sheet(console, [image.path for image in DEMO_IMAGES])
    with _status(console, "the worker is loading torch and the model"):
        ready = services.worker.wait_until_ready()
    _print_line(console, "worker", ready.partition(", queue ")[0])
    console.print()
    return _classify_and_print(console, services)


def _classify_and_print(console: Console, services: _Services) -> int:
    start = time.monotonic()
    with Client(services.redis.url) as client:
        results = _classify(client, services.worker, console)
    print_results(console, results)
    print_timing(console, results, time.monotonic() - start)
    return 0 if all(result.classification for result in results) else 1


def _start(started: contextlib.ExitStack) -> _Services:
    # Stopped in reverse order: worker, Redis, files.
    folder = Path(started.enter_context(TemporaryDirectory(prefix="clip-worker-demo-"))).resolve()
    redis = started.enter_context(embedded_redis())
    worker = started.enter_context(run_demo_worker(redis, folder, image_folder()))
    return _Services(redis, worker)


def _classify(client: Client, worker: DemoWorker, console: Console) -> list[DemoResult]:
    """Send one task per image and collect the results, in the order of the images."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    disabled = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=disabled
    ) as progress:
        task = progress.add_task("results", total=len(DEMO_IMAGES))
        sent = {
            client.classify(image.path.as_uri(), image.labels, k=image.k): image
            for image in DEMO_IMAGES
        }
        results = {}
        for handle in _ended(list(sent), worker):
            results[sent[handle].file_name] = _result(sent[handle], handle)
            progress.advance(task)
    return [results[image.file_name] for image in DEMO_IMAGES]


def _ended(
    handles: list[Handle[Classification]], worker: DemoWorker
) -> Iterator[Handle[Classification]]:
    """Yield the tasks as they end, while the worker is running."""
    end = time.monotonic() + RESULT_LIMIT_S
    while handles:
        try:
            handle = next(as_completed(handles, timeout=_CHECK_S))
        except ResultTimeoutError as error:
            worker.check()
            if time.monotonic() > end:
                raise TemporaryError(
                    f"{len(handles)} tasks have no result after {RESULT_LIMIT_S:g} s; the machine "
                    "may be overloaded: try again."
                ) from error
        else:
            handles.remove(handle)
            yield handle


def _result(image: DemoImage, handle: Handle[Classification]) -> DemoResult:
    try:
        return DemoResult(image, handle.get(RESULT_LIMIT_S))
    except ClipWorkerError as error:
        return DemoResult(image, None, str(error))


def _print_line(console: Console, name: str, text: str) -> None:
    console.print(f"  [green]{name:<9}[/]", end="")
    console.print(text, markup=False, soft_wrap=True)


def _status(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    return console.status(what) if console.is_terminal else contextlib.nullcontext()
