"""All contenders of one model at once, as far as the machine's memory goes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import psutil

from benchmarks.bench.contender import Contender
from benchmarks.bench.labels import label_list
from benchmarks.bench.machine import cores
from benchmarks.bench.messages import cycled
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.bench.raw import RawEngine
from benchmarks.bench.server import BenchError
from benchmarks.bench.weights import Weights

AnyContender: TypeAlias = Contender | RawEngine

RAW, OURS = RawEngine.name, "clip-worker"
FEWEST = 2  # tasks: a child of a prefork pool each
BASE_BYTES = 600e6  # of a process with torch
COPIES = 1.5  # of the weights: the model, and what inference takes


def start_all(
    stack: ExitStack, everybody: Sequence[AnyContender], weights: Weights, cache: Path
) -> tuple[list[AnyContender], dict[str, str]]:
    """Start the contenders one after the other, and let each load its model.

    Returns:
        Those that run, and by name why another doesn't.
    """
    started: list[AnyContender] = []
    left_out: dict[str, str] = {}
    for contender in everybody:
        name = f"{weights.architecture.name}: {contender.name}"
        try:
            _require_memory(contender, weights)
            say(f"  {name}: starting")
            stack.enter_context(contender)
            if isinstance(contender, Contender):  # it takes its memory when it loads its model
                contender.warm_up(_first_tasks(cache))
            started.append(contender)
        except BenchError as error:
            say(f"  {name}: {error}")
            left_out[contender.name] = str(error)[:500]
    return started, left_out


def _first_tasks(cache: Path) -> list[tuple[str, list[str]]]:
    images = [str(path) for path in make_pictures(SMALL, cache / "pictures")]
    return cycled(images, itertools.repeat(label_list(1)), 2 * FEWEST)


def _require_memory(contender: AnyContender, weights: Weights) -> None:
    """Raise if a contender and its model, in each of its processes, would not fit.

    Raises:
        BenchError: It would have to swap, or the system would kill somebody.
    """
    processes = 1 if contender.name in (RAW, OURS) else cores()
    need = processes * (BASE_BYTES + COPIES * weights.state_dict.stat().st_size)
    free = psutil.virtual_memory().available
    if need > free:
        raise BenchError(f"left out: it takes {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
