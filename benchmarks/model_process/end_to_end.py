"""The demo model with its real tower, its latency when idle, and tasks that do nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bench.delivery import HANDLER, KINDS, PIPELINE
from benchmarks.bench.labels import label_list
from benchmarks.bench.messages import ClipWorkerSender
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.model_process.case import LABELS, Case
from benchmarks.model_process.subject import START_LIMIT_S, Subject
from benchmarks.model_process.tree import Tree
from benchmarks.model_process.turns import in_turn

NO_OP = str(Path(__file__).parent / "in_worker" / "no_op.py")
LEAST = 128  # tasks a round
PAUSE_S = 0.02  # between two single tasks, so that the worker is idle
LIMIT_S = 60.0
CASE = Case(SMALL)

Values = list[list[float]]  # by tree, by round


def throughput(
    what: str, subjects: Sequence[Subject], rounds: int, seconds: float, least: int = LEAST
) -> dict[str, Values]:
    """Tasks a second, and processor time a task, of workers that take turns."""
    templates = CASE.templates(subjects[0].cache, subjects[0].server)
    counts = {}
    for subject in subjects:
        subject.run(templates, least, START_LIMIT_S)
        rate = least / subject.run(templates, least)
        counts[subject.tree.name] = max(least, int(rate * seconds))

    def measure(subject: Subject) -> tuple[float, float]:
        count, before_s = counts[subject.tree.name], subject.cpu_s
        rate = count / subject.run(templates, count)
        cost_us = 1e6 * (subject.cpu_s - before_s) / count
        say(f"    {subject.tree.name}: {rate:,.0f}/s, {cost_us:,.0f} us")
        return rate, cost_us

    found = in_turn(subjects, rounds, measure)
    rates = [[rate for rate, _ in one] for one in found]
    costs = [[cost for _, cost in one] for one in found]
    return {f"{what}: tasks/s": rates, f"{what}: CPU of worker and Redis, µs a task": costs}


def idle_latency(subjects: Sequence[Subject], tasks: int) -> Values:
    """Milliseconds from `classify` to the answer in `get`, one task at a time, in turn."""
    values: Values = [[] for _ in subjects]
    uris = [path.as_uri() for path in make_pictures(SMALL, subjects[0].cache / "pictures")]
    labels = label_list(LABELS)
    with ExitStack() as stack:
        senders = [ClipWorkerSender(subject.server.url) for subject in subjects]
        for sender in senders:
            stack.callback(sender.close)
        for number in range(tasks):
            for sender, found in zip(senders, values, strict=True):
                time.sleep(PAUSE_S)
                start = time.perf_counter()
                sender.client.classify(uris[number % len(uris)], labels).get(timeout=LIMIT_S)
                found.append(1e3 * (time.perf_counter() - start))
    return values


def measure(
    trees: Sequence[Tree], cache: Path, *, rounds: int, seconds: float, idle_tasks: int
) -> dict[str, Values]:
    """Every figure by its title."""
    found: dict[str, Values] = {}
    with ExitStack() as stack:
        say(f"  demo model, {CASE.title}")
        subjects = [stack.enter_context(Subject(tree, cache)) for tree in trees]
        found |= throughput(f"demo model, {SMALL.name}", subjects, rounds, seconds)
        say("  idle")
        found["idle, one image at a time: ms"] = idle_latency(subjects, idle_tasks)
    for title in (HANDLER, PIPELINE):
        with ExitStack() as stack:
            say(f"  {title}")
            subjects = [
                stack.enter_context(Subject(tree, cache, [NO_OP, KINDS[title]])) for tree in trees
            ]
            found |= throughput(f"no-op, {title}", subjects, rounds, seconds)
    return found
