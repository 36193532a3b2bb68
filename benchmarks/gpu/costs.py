"""The figures that the model of the host computes with: a JSON file that a run can overwrite.

`benchmarks/gpu/costs.json` has, for each figure, its value, its source (`measured here`,
`estimate` or `published`) and a note. `benchmarks.gpu.run --costs FILE` replaces those that it has
measured.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.host import Figure, Host
from benchmarks.gpu.rates import image_operations

FILE = Path(__file__).with_name("costs.json")
MEASURED = "measured here"
BITS = 8

Costs = dict[str, dict[str, dict[str, Any]]]


class UnknownError(ValueError):
    """The file has no such GPU, model or image size; the sentence lists those that it has."""


def load(path: Path = FILE) -> Costs:
    """Read the file."""
    found: Costs = json.loads(path.read_text(encoding="utf-8"))
    return found


def save(costs: Costs, path: Path) -> None:
    """Write the file."""
    path.write_text(json.dumps(costs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def figure(costs: Costs, kind: str, name: str) -> Figure:
    """One figure.

    Raises:
        UnknownError: The file doesn't have it.
    """
    if name not in costs[kind]:
        raise UnknownError(f"Unknown {kind} {name!r}; give one of {', '.join(costs[kind])}.")
    return Figure(**costs[kind][name])


def host_of(  # noqa: PLR0913  # each is an option of the command
    costs: Costs,
    *,
    cores: int,
    gpu: str,
    model: str,
    pictures: str,
    workers: int,
    network_gbit: float,
) -> Host:
    """The host of these options.

    Raises:
        UnknownError: The file has no such GPU, model or image size.
    """
    nothing = Figure(0.0, "none")
    network = Figure(network_gbit * 1e9 / BITS, "assumed")
    size = figure(costs, "image bytes", pictures)
    return Host(
        cores=cores,
        workers=workers,
        encoder_images_per_s=_encoder(costs, gpu, model),
        encoder_cpu_s=nothing,
        preparation_s=_scaled(figure(costs, "preparation, ms", pictures), 1e-3),
        model_s=_scaled(figure(costs, "an image, us", "model process"), 1e-6),
        gather_s=_scaled(figure(costs, "an image, us", "gather"), 1e-6),
        redis_s=_scaled(figure(costs, "an image, us", "Redis"), 1e-6),
        image_bytes=size if network_gbit else nothing,
        network_bytes_per_s=network if network_gbit else Figure(1.0, "none"),
    )


def _encoder(costs: Costs, gpu: str, model: str) -> Figure:
    """Measured, or the share that a model is expected to reach of a GPU's published rate."""
    if (measured := f"{model} on {gpu}") in costs["encoder, images/s"]:
        return figure(costs, "encoder, images/s", measured)
    rate, share = (
        figure(costs, "matrix products, TFLOP/s", gpu),
        figure(costs, "share of them", model),
    )
    value = rate.value * 1e12 * share.value / image_operations(model)
    note = f"{share.value:.0%} of {rate.value:g} TFLOP/s ({rate.note})"
    return Figure(value, share.source, note)


def _scaled(value: Figure, factor: float) -> Figure:
    return Figure(value.value * factor, value.source, value.note)


def with_measured(costs: Costs, run: Mapping[str, Any]) -> Costs:
    """The costs with those replaced that a run of `benchmarks.gpu.run` has measured.

    Args:
        costs: Are not changed.
        run: Its JSON, of published models (not `--quick`).
    """
    found = copy.deepcopy(costs)
    sections = {name: one["figures"] for name, one in run["sections"].items()}
    device = sections.get("device", {})
    gpu, cpu = device.get("name", "an unknown GPU"), device.get("cpu", "an unknown processor")
    for title, measured in sections.get("encoder", {}).items():
        if measured.get("sizes"):
            model = title.rpartition(" ")[0]
            best = max(
                max(one["images_per_s"], one["in_flight_images_per_s"])
                for one in measured["sizes"].values()
            )
            _keep_best(found["encoder, images/s"], f"{model} on {gpu}", best, title)
    for title, measured in sections.get("decoding", {}).items():
        if title.endswith(" simplejpeg"):
            name = title.removesuffix(" simplejpeg")
            found["preparation, ms"][name] = _measured(measured["all_cores_ms"], cpu)
    _add_processes(found, sections.get("end-to-end", {}), cpu)
    return found


def _keep_best(encoders: dict[str, dict[str, Any]], name: str, rate: float, title: str) -> None:
    """float16 or bfloat16, whichever is faster in this run."""
    known = encoders.get(name)
    if known is None or known["source"] != MEASURED or rate > known["value"]:
        encoders[name] = _measured(rate, title)


def _add_processes(found: Costs, served: Mapping[str, Any], cpu: str) -> None:
    """The model process and Redis, from the first round through the queue."""
    rounds = [one for title, one in served.items() if not title.endswith("start")]
    if rounds:
        first = rounds[0]
        model_us = 1e6 * sum(first["model_s"]) / first["images"]
        found["an image, us"]["model process"] = _measured(model_us, f"{cpu}, with its forward")
        found["an image, us"]["gather"] = _measured(0.0, "counted in the model process")
        redis_us = 1e6 * first["redis_s"] / first["images"]
        found["an image, us"]["Redis"] = _measured(redis_us, cpu)


def _measured(value: float, note: str) -> dict[str, Any]:
    return {"value": value, "source": MEASURED, "note": note}
