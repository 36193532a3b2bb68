"""`clip-worker demo`: tags a dozen images, then two thousand, on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import track
from rich.text import Text

from clip_worker import Client
from clip_worker.client.handle import Handle
from clip_worker.client.image_request import ImageRequest
from clip_worker.contract import Classification
from clip_worker.errors import ClipWorkerError
from worker.cli.demo.contact_sheet import draw_mosaic, draw_tiles, stack
from worker.cli.demo.drawings import Drawing, draw
from worker.cli.demo.embedded_redis import EmbeddedRedis, embedded_redis
from worker.cli.demo.images import DEMO_IMAGES, DemoImage, image_folder
from worker.cli.demo.live import RESULT_LIMIT_S, LivePace, ended, tag_live
from worker.cli.demo.report import (
    DemoResult,
    ManyResults,
    print_many,
    print_next_steps,
    print_results,
    print_summary,
)
from worker.cli.demo.signals import Interrupted, Interrupts
from worker.cli.demo.terminal_images import image_protocol, print_thumbnails, show_png
from worker.cli.demo.worker import DemoWorker, clear_settings, run_demo_worker
from worker.cli.output.usage_error import say

PLAIN_WIDTH = 110  # columns if stdout is not a terminal
DRAWINGS = 2000
SHEET = Path("clip-worker-demo.png")


@dataclass(frozen=True, slots=True)
class _Demo:
    """What the demo has started, and where it prints.

    Attributes:
        console: Of stdout.
        folder: For what is deleted in the end.
        redis: Its Redis.
        worker: Its worker.
    """

    console: Console
    folder: Path
    redis: EmbeddedRedis
    worker: DemoWorker


@click.command("demo")
@click.option(
    "--images",
    "count",
    type=click.IntRange(min=1, max=100_000),
    default=DRAWINGS,
    show_default=True,
    help="How many images to tag after the first dozen.",
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    default=SHEET,
    show_default=True,
    help="Where to write all images with their labels, as a PNG file.",
)
def command(count: int, sheet: Path) -> int:
    """Start a Redis and a worker, tag a dozen images, then two thousand as fast as it can.

    It needs no network and no weights: the package includes a small model that recognises drawn
    shapes. When it ends, everything that it started is stopped, and every file that it wrote is
    deleted but the PNG file that it names.
    """
    clear_settings()
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        with Interrupts() as interrupts, contextlib.ExitStack() as started, interrupts.raising():
            console.print(
                "[bold]clip-worker demo[/]: a queue, a worker and drawn images, on this machine."
            )
            with interrupts.held():
                demo = _start(console, started)
            status = _run(demo, count, sheet)
    except Interrupted as interrupted:
        say("interrupted; the demo's worker and Redis were stopped.")
        return interrupted.exit_status
    print_next_steps(console)
    return status


def _start(console: Console, started: contextlib.ExitStack) -> _Demo:
    # Stopped in reverse order: worker, Redis, files.
    folder = Path(started.enter_context(TemporaryDirectory(prefix="clip-worker-demo-"))).resolve()
    redis = started.enter_context(embedded_redis())
    worker = started.enter_context(run_demo_worker(redis, folder, [image_folder(), folder]))
    return _Demo(console, folder, redis, worker)


def _run(demo: _Demo, count: int, sheet: Path) -> int:
    console = demo.console
    _print_line(console, "Redis", f"{demo.redis.description}, only for the demo")
    _print_line(console, "images", f"{len(DEMO_IMAGES)} drawings, one task each")
    print_thumbnails(console, [image.path for image in DEMO_IMAGES])
    drawings = _drawings(demo, count)  # while the worker starts
    with _status(console, "the worker is loading torch and the model"):
        ready = demo.worker.wait_until_ready()
    _print_line(console, "worker", ready.partition(", queue ")[0])
    console.print()
    with Client(demo.redis.url) as client:
        results = _tag(client, demo)
        print_results(console, results)
        many = _tag_many(client, demo, drawings)
    print_many(console, many)
    _write_sheet(console, results, many, sheet)
    print_summary(console, results, many)
    return 0 if all(result.classification for result in results) else 1


def _drawings(demo: _Demo, count: int) -> list[Drawing]:
    title = f"  drawing {count:,} more"
    hidden = not demo.console.is_terminal
    return list(
        track(
            draw(demo.folder, count),
            title,
            total=count,
            console=demo.console,
            transient=True,
            disable=hidden,
        )
    )


def _tag(client: Client, demo: _Demo) -> list[DemoResult]:
    """Send one task per image and collect the results, in the order of the images."""
    sent = {
        client.classify(image.path.as_uri(), image.labels, k=len(image.labels)): image
        for image in DEMO_IMAGES
    }
    results = {}
    for handle in ended(list(sent), demo.worker.check):
        results[sent[handle].file_name] = _result(sent[handle], handle)
    return [results[image.file_name] for image in DEMO_IMAGES]


def _result(image: DemoImage, handle: Handle[Classification]) -> DemoResult:
    try:
        return DemoResult(image, handle.get(RESULT_LIMIT_S))
    except ClipWorkerError as error:
        return DemoResult(image, None, str(error))


def _tag_many(client: Client, demo: _Demo, drawings: list[Drawing]) -> ManyResults:
    """Send one task per drawing, each with its own labels, and show the pace."""
    lists = len({drawing.labels for drawing in drawings})
    demo.console.print(
        f"Now {len(drawings):,} images, with {lists:,} different lists of labels:", soft_wrap=True
    )
    requests = [
        ImageRequest(image=drawing.path.as_uri(), labels=drawing.labels, k=1)
        for drawing in drawings
    ]
    start = time.monotonic()
    handles = client.submit_many(requests)
    by_id = dict(zip([handle.id for handle in handles], drawings, strict=True))
    found = {}
    with LivePace(demo.console, len(handles)) as live:
        for handle in tag_live(handles, demo.worker.check, live):
            found[by_id[handle.id].path] = handle.get(RESULT_LIMIT_S)
    seconds = time.monotonic() - start
    return ManyResults(drawings, [found[each.path] for each in drawings], lists, seconds)


def _write_sheet(
    console: Console, results: list[DemoResult], many: ManyResults, path: Path
) -> None:
    tagged = [
        (result.image.path, result.classification.predictions)
        for result in results
        if result.classification
    ]
    images = list(zip([each.path for each in many.drawings], many.are_right, strict=True))
    mosaic = draw_mosaic(images, f"{len(images):,} more; a red frame marks a wrong label")
    sheet = stack([draw_tiles(tagged), mosaic])
    protocol = image_protocol(os.environ) if console.is_terminal else None
    if protocol:
        file = BytesIO()
        draw_tiles(tagged).save(file, "PNG")
        sys.stdout.write(show_png(file.getvalue(), console.width, protocol))
        sys.stdout.flush()
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        say(f"{path} can't be written ({error.strerror}); choose another place with --sheet.")
    else:
        _print_line(console, "sheet", f"{path}: all images with their labels")


def _print_line(console: Console, name: str, text: str) -> None:
    # In one piece, so that an interruption comes before or after it.
    console.print(Text.assemble((f"  {name:<9}", "green"), text), soft_wrap=True)


def _status(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    return console.status(what) if console.is_terminal else contextlib.nullcontext()
