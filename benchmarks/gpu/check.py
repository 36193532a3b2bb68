"""Compares the model of the host with workers on this machine, in one run and without a GPU.

First a worker whose image tower costs nothing (`benchmarks.model_process`): its preparation
is forecast from decoding measured alone. Then one with the demo model: the model process,
Redis and preparation are forecast from the first worker, the forward pass from the engine alone.
Processor times can be compared on a busy machine too; rates only on a quiet one.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.bench.labels import label_list
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.gpu.device import cores
from benchmarks.gpu.engines import in_threads, noise
from benchmarks.gpu.host import Figure, Host
from benchmarks.gpu.preparing import on_all_cores
from benchmarks.gpu.served import Round, Workers
from clip_engine import load_engine

ROOT = Path(__file__).resolve().parents[2]
COSTLESS_FOLDER = ROOT / "benchmarks" / "model_process" / "in_worker"
COSTLESS = ("-m", "celery", "-A", "costless_app", "worker", "--loglevel", "warning")
LABELS = 10
FILES = 16
START_LIMIT_S = 180.0
NOTHING = Figure(0.0, "none")


def check(*, quick: bool) -> str:
    """A Markdown table: the forecast beside what was measured."""
    round_s = 1.0 if quick else 8.0
    with tempfile.TemporaryDirectory(prefix="clip-worker-check-") as folder:
        drawn = dataclasses.replace(SMALL, count=FILES)
        paths = make_pictures(drawn, Path(folder) / "pictures")
        say("  encoder alone")
        encoder_s = encoder_cpu_s(round_s)
        say("  decoding alone")
        torch.set_num_threads(1)
        decoding_s = on_all_cores([path.read_bytes() for path in paths], round_s) / 1e3
        say("  a worker whose image tower costs nothing")
        settings = {"CLIP_WORKER_MODEL": "demo", "CLIP_WORKER_FILE_ROOTS": folder}
        probing = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(COSTLESS_FOLDER)]),
            "PROBE_FILE": str(Path(folder) / "probe.json"),
        }
        with Workers(settings | probing, arguments=COSTLESS) as workers:
            costless = _measure(workers, paths, round_s)
        say("  a worker with the demo model")
        with Workers(settings) as workers:
            demo = _measure(workers, paths, round_s)
    forecasts = {
        "image tower that costs nothing": (forecast(costless, preparation_s=decoding_s), costless),
        "demo model": (forecast(costless, encoder_s=encoder_s), demo),
    }
    return table(forecasts, f"{SMALL.name} JPEGs, {cores()} cores")


def forecast(
    measured: Round, *, preparation_s: float | None = None, encoder_s: float = 0.0
) -> Host:
    """The host of a worker on these cores.

    Args:
        measured: Gives what an image costs the processes.
        preparation_s: Of an image, instead of that.
        encoder_s: Processor time of an image's forward pass.
    """

    def figure(seconds: float) -> Figure:
        return Figure(seconds / measured.images, "measured here")

    return Host(
        cores=cores(),
        workers=1,
        encoder_images_per_s=None,
        encoder_cpu_s=Figure(encoder_s, "measured here"),
        preparation_s=figure(measured.children_s)
        if preparation_s is None
        else Figure(preparation_s, "measured here"),
        model_s=figure(sum(measured.model_s)),
        gather_s=NOTHING,  # a part of the forward pass measured alone
        redis_s=figure(measured.redis_s),
        image_bytes=NOTHING,
        network_bytes_per_s=Figure(1.0, "none"),
    )


def table(forecasts: Mapping[str, tuple[Host, Round]], title: str) -> str:
    """The forecast and the measurement of each worker."""
    lines = [
        f"{title}:\n",
        "| worker | | forecast | measured | measured / forecast |",
        "|---|---|---|---|---|",
    ]
    for name, (host, found) in forecasts.items():
        measured_s = (sum(found.model_s) + found.children_s + found.redis_s) / found.images
        cpu = _compared(1e3 * host.cpu_s, 1e3 * measured_s, ".2f")
        rates = _compared(host.binding().allows, found.images_per_s, ",.0f")
        lines.append(f"| {name} | CPU of all processes, ms an image | {cpu} |")
        lines.append(f"| | images/s; {host.binding().name} bind | {rates} |")
    return "\n".join(lines)


def _compared(forecast: float, measured: float, spec: str) -> str:
    return f"{forecast:{spec}} | {measured:{spec}} | {measured / forecast:.2f}"


def encoder_cpu_s(seconds: float) -> float:
    """Processor time of an image in the demo model's image tower, a replica a core."""
    engine = load_engine("demo", replicas=cores())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size = engine.max_batch
    pixels = noise(engine, size)
    engine.encode_pixels(pixels)
    counts = [0] * cores()
    end = time.perf_counter() + seconds

    def run(thread: int) -> None:
        torch.set_num_threads(1)  # it is a setting of each thread
        while time.perf_counter() < end:
            engine.encode_pixels(pixels)
            counts[thread] += size

    cpu_s = time.process_time()
    in_threads(cores(), run)
    cpu_s = time.process_time() - cpu_s
    torch.set_num_threads(threads)
    return cpu_s / sum(counts)


def _measure(workers: Workers, paths: list[Path], seconds: float) -> Round:
    """One round after one that warms up and one that says how long a round must be."""
    labels = label_list(LABELS)
    workers.warm_up(paths, labels, START_LIMIT_S)
    probe = workers.run(paths, itertools.repeat(labels), 8 * len(paths))
    count = max(len(paths), round(probe.images_per_s * seconds))
    return workers.run(paths, itertools.repeat(labels), count)
