"""Images a second of the image tower by batch size, as a share of the matrix products' rate."""

from __future__ import annotations

import itertools
import time
from typing import Any

from benchmarks.gpu.checkpoints import models
from benchmarks.gpu.engines import (
    IN_FLIGHT,
    free_memory,
    images_per_s,
    known,
    load,
    variant,
)
from benchmarks.gpu.rates import image_operations, matrix_rate
from benchmarks.gpu.report import Options, Report
from clip_engine.engine import Engine
from clip_engine.precision import Precision

SIZES = (1, 8, 32, 64, 128, 256, 512)
QUICK_SIZES = (1, 4)
OPTION_SIZES = (1, 32, 256)  # at which a ResNet's options are compared
CONVOLUTIONAL = "RN50"
LOAD_S = 8.0  # of a model, about
COMPILE_S = 40.0
COMPILED = "compiled"


def measure(options: Options, report: Report) -> None:
    """Each model in the default precision, the options of ResNets, then the other precision."""
    precisions: tuple[Precision, ...] = ("float16", "bfloat16") if options.cuda else ("float32",)
    for precision in precisions:
        rate = matrix_rate(options, precision)
        for name in models(quick=options.quick):
            if report.has_time(f"{name}, {precision}", LOAD_S if options.cuda else 0.0):
                _measure_model(name, precision, rate, options, report)
                free_memory()
        if precision == precisions[0]:
            _measure_convolutional(options, report)


def _measure_model(
    name: str, precision: Precision, rate: float, options: Options, report: Report
) -> None:
    start = time.perf_counter()
    engine = load(name, options, precision=precision)
    found: dict[str, Any] = {"load_s": time.perf_counter() - start}
    if precision != "bfloat16":  # one precision is enough: it measures and records for seconds
        found |= _warm_up(engine)
        report.say(
            f"{name}, {precision}: loaded in {found['load_s']:.1f} s, warm in "
            f"{found['warm_s']:.1f} s, graphs of {found['graphs'] or 'no'} images, batches of up "
            f"to {found['max_batch']}"
        )
    operations = None if options.quick else image_operations(name)
    found["sizes"] = {}
    for size in _sizes(options):
        if not report.has_time(f"{name}, {precision}, batches of {size}", 2 * options.round_s):
            break
        measured = _measure_size(engine, size, options)
        if measured["ran_at"] < size:
            report.say(f"{name}, {precision}: batches of {size} don't fit into the memory")
            break
        if operations:
            measured["share"] = measured["images_per_s"] * operations / rate
        found["sizes"][str(size)] = measured
        report.record(f"{name} {precision}", found)
        report.say(f"{name}, {precision}, batches of {size}: {_sentence(measured)}")
    if found["sizes"]:
        size, best = max(found["sizes"].items(), key=lambda one: best_rate(one[1]))
        report.row(f"{name}, {precision}, best at batches of {size}", _sentence(best))


def best_rate(measured: dict[str, float]) -> float:
    """With one batch in flight or with two, whichever is faster."""
    return max(measured["images_per_s"], measured["in_flight_images_per_s"])


def _warm_up(engine: Engine) -> dict[str, Any]:
    """What `Engine.warm` took and said."""
    start = time.perf_counter()
    found = engine.warm()
    return {
        "warm_s": time.perf_counter() - start,
        "graphs": list(found.graphs),
        "warm_images_per_s": {str(size): rate for size, rate in found.images_per_s.items()},
        "max_batch": engine.max_batch,
        "buckets": list(engine.buckets),
    }


def _measure_size(engine: Engine, size: int, options: Options) -> dict[str, float]:
    """Batches of one size, one and two in flight."""
    only = variant(engine, buckets=(size,))
    only.warm()
    measured = {
        "images_per_s": images_per_s(only, size, options.round_s),
        "in_flight_images_per_s": images_per_s(only, size, options.round_s, IN_FLIGHT),
    }
    return measured | {"ran_at": float(only.max_batch)}  # smaller if it doesn't fit


def _sentence(measured: dict[str, float]) -> str:
    share = f", {measured['share']:.0%} of the matrix products' rate" if "share" in measured else ""
    return (
        f"{measured['images_per_s']:,.0f} images/s{share}; "
        f"{measured['in_flight_images_per_s']:,.0f} with {IN_FLIGHT} batches in flight"
    )


def _measure_convolutional(options: Options, report: Report) -> None:
    """The ResNet with each option of convolutional towers on and off."""
    found: dict[str, Any] = {}
    for channels_last, compiled in itertools.product((False, True), (False, True)):
        on = {"channels_last": channels_last, COMPILED: compiled}
        acceleration = known(**on)
        title = ", ".join(f"{'' if value else 'no '}{option}" for option, value in on.items())
        if acceleration is None:
            report.say(f"{CONVOLUTIONAL}, {title}: this version has no such option")
            continue
        if compiled and not options.cuda:
            continue  # for CUDA only
        expected_s = COMPILE_S if compiled else LOAD_S if options.cuda else 0.0
        if not report.has_time(f"{CONVOLUTIONAL}, {title}", expected_s):
            continue
        engine = load(CONVOLUTIONAL, options, acceleration=acceleration)
        sizes = QUICK_SIZES if options.quick else OPTION_SIZES
        free_memory()
        found[title] = {str(size): _measure_size(engine, size, options) for size in sizes}
        report.record(f"{CONVOLUTIONAL} options", found)
        size, best = max(found[title].items(), key=lambda one: best_rate(one[1]))
        report.say(f"{CONVOLUTIONAL}, {title}, batches of {size}: {_sentence(best)}")
        report.row(f"{CONVOLUTIONAL}, {title}, batches of {size}", _sentence(best))


def _sizes(options: Options) -> tuple[int, ...]:
    if options.quick:
        return QUICK_SIZES
    return SIZES if options.cuda else SIZES[:2]
