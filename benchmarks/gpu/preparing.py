"""How many JPEGs a core decodes and resizes, and how many the device does."""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

import torch

from benchmarks.bench.pictures import LARGE, SMALL, Size, make_pictures
from benchmarks.gpu.device import cores
from benchmarks.gpu.report import Options, Report
from clip_engine.images import jpeg
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

TINY = Size("64x64", 64, 64, 16)
SIZES = (TINY, SMALL, LARGE)
FILES = 8  # of each size
TRANSFORM = ImageTransform(224)
ROUND_S = 1.0
QUICK_ROUND_S = 0.05
BATCH = 64  # files of a call on the device
DEVICE_S = 5.0  # of one decoder and size on the device, about


def measure(options: Options, report: Report) -> None:
    """The decoders of a CPU at each size, alone and on all cores, then those of the device."""
    torch.set_num_threads(1)  # as in a preparation process; and nothing to break in a fork
    for size in SIZES[:2] if options.quick else SIZES:
        files = images(size, options)
        for decoder in ("simplejpeg", "Pillow"):
            if report.has_time(f"{size.name}, {decoder}", 2 * _round_s(options)):
                _measure_cpu(size.name, decoder, files, options, report)
    _measure_device(options, report)


def images(size: Size, options: Options, count: int = FILES) -> list[bytes]:
    """JPEGs of this size, drawn once a run."""
    drawn = dataclasses.replace(size, count=2 if options.quick else count)
    return [path.read_bytes() for path in make_pictures(drawn, options.folder / "pictures")]


def preparation_ms(files: Sequence[bytes], seconds: float) -> float:
    """Processor time of an image on one core, in milliseconds, as a worker prepares it."""
    prepare = Preprocessor(TRANSFORM, "fast").from_bytes
    prepare(files[0])
    count, start, cpu = 0, time.perf_counter(), time.thread_time()
    for file in cycle(files):
        prepare(file)
        count += 1
        if time.perf_counter() - start >= seconds:
            break
    return 1000 * (time.thread_time() - cpu) / count


def _measure_cpu(
    size: str, decoder: str, files: list[bytes], options: Options, report: Report
) -> None:
    if decoder == "simplejpeg" and jpeg.simplejpeg is None:
        report.say("simplejpeg is not installed; pip install simplejpeg")
        return
    with _decoder(decoder):
        alone_ms = preparation_ms(files, _round_s(options))
        busy_ms = on_all_cores(files, _round_s(options))
    found = {"ms": alone_ms, "all_cores_ms": busy_ms, "cores": cores()}
    report.record(f"{size} {decoder}", found)
    sentence = (
        f"{1000 / alone_ms:,.0f} images/s a core; "
        f"{1000 / busy_ms:,.0f} with all {cores()} cores busy"
    )
    report.say(f"{size}, {decoder}: {sentence}")
    report.row(f"{size}, {decoder}", sentence)


@contextmanager
def _decoder(name: str) -> Iterator[None]:
    """Have JPEGs decoded by this library."""
    before: Any = jpeg.simplejpeg
    if name == "Pillow":
        jpeg.simplejpeg = None
    try:
        yield
    finally:
        jpeg.simplejpeg = before


def on_all_cores(files: list[bytes], seconds: float) -> float:
    """The same as `preparation_ms` while all cores do it: the mean over them."""
    with multiprocessing.get_context("fork").Pool(cores()) as pool:
        found = pool.map(partial(preparation_ms, files), [seconds] * cores(), chunksize=1)
    return sum(found) / len(found)


def _measure_device(options: Options, report: Report) -> None:
    """`benchmarks.gpu.decoding`: nvJPEG and a resize on a GPU; libjpeg-turbo on a CPU."""
    try:
        decoding: Any = importlib.import_module("benchmarks.gpu.decoding")
    except ModuleNotFoundError as error:
        report.say(f"decoding on the device is not measured: {error}")
        return
    decoders = decoding.available()
    report.record("device decoders", list(decoders))
    if not decoders:
        report.row("decoding on the device", "neither torchcodec nor torchvision can be imported")
    device = torch.device(options.device)
    for decoder in decoders:
        for size in SIZES[:1] if options.quick else SIZES[1:]:
            title = f"{size.name}, {decoder} on {options.device}"
            if report.has_time(title, DEVICE_S if options.cuda else 0.0):
                _measure_device_decoder(decoding, decoder, device, size, options, report, title)


def _measure_device_decoder(  # noqa: PLR0913, PLR0917  # all of one table row
    decoding: Any,
    decoder: str,
    device: torch.device,
    size: Size,
    options: Options,
    report: Report,
    title: str,
) -> None:
    files = images(size, options)
    try:
        off = decoding.difference(files, TRANSFORM, device, decoder)
        rate = decoding.measure(
            lambda some: decoding.prepare(some, TRANSFORM, device, decoder),
            files,
            device,
            batch=len(files) if options.quick else BATCH,
            seconds=_round_s(options),
        )
    except (RuntimeError, OSError) as error:
        report.say(f"{title}: {error}")
        report.row(title, f"failed: {str(error).partition(chr(10))[0]}")
        return
    report.record(
        f"{size.name} {decoder} device",
        {
            "images_per_s": rate.images_per_s,
            "host_ms": rate.host_ms,
            "mean_levels": off.mean,
            "largest_levels": off.largest,
        },
    )
    sentence = (
        f"{rate.images_per_s:,.0f} images/s, {rate.host_ms:.2f} ms of processor time an image; "
        f"off exact mode by {off.mean:.2f} of 255 levels in the mean, {off.largest:.0f} at most"
    )
    report.say(f"{title}: {sentence}")
    report.row(title, sentence)


def _round_s(options: Options) -> float:
    return QUICK_ROUND_S if options.quick else ROUND_S
