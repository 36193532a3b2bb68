"""Plots from the figures, as PNG and SVG. Colours: Okabe and Ito's, which most eyes tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.bench.sample import median, percentile

COLOURS = {
    "clip-worker": "#0072B2",
    "raw engine": "#999999",
    "plain Celery + open_clip": "#D55E00",
    "celery-batches + open_clip": "#009E73",
    "transformers": "#CC79A7",
}
BLUE, ORANGE, GREEN, GREY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#999999", "#E69F00"
RANGE_FOR_LOG = 10
PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "clip-worker",  # the same figures make the same file
    "svg.fonttype": "none",
}


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the document has; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, tuple[str, Callable[[Any], Figure]]] = {
        "end_to_end": ("end-to-end", _end_to_end),
        "no_op": ("no-op", _no_op),
        "latency": ("latency", _latency),
        "growth": ("growth", _growth),
    }
    written = []
    plt.switch_backend("Agg")  # files only
    with mpl.rc_context(STYLE):
        for name, (file, drawn) in figures.items():
            if name in document["sections"]:
                figure = drawn(document["sections"][name]["data"])
                for suffix in ("png", "svg"):
                    path = folder / f"{file}.{suffix}"
                    # SVG carries the date by default.
                    metadata = {"Date": None} if suffix == "svg" else None
                    figure.savefig(path, dpi=130, bbox_inches="tight", metadata=metadata)
                    written.append(path)
                plt.close(figure)
    return written


def _end_to_end(data: dict[str, Any]) -> Figure:
    """Bars on a logarithmic scale, a group a case."""
    names = [name for name in COLOURS if any(name in c["contenders"] for c in data.values())]
    figure, axes = plt.subplots(figsize=(9, 0.95 * len(data) + 1.6))
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        for row, case in enumerate(data.values()):
            found = case["contenders"].get(name, {})
            rates = [found["tasks"] / seconds for seconds in found.get("seconds", [])]
            if not rates:
                continue
            middle, y = median(rates), row + (i - (len(names) - 1) / 2) * height
            axes.barh(
                y, middle, height * 0.9, color=COLOURS[name], label=name if row == 0 else None
            )
            axes.errorbar(middle, y, xerr=_whiskers(rates), color="black", linewidth=0.8)
            axes.annotate(
                f"{middle:.3g}", (max(rates), y), (5, 0), textcoords="offset points",
                va="center", fontsize=8,
            )  # fmt: skip
    axes.set_yticks(range(len(data)), [case["title"] for case in data.values()])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("images a second (logarithmic; whiskers: least and most of the rounds)")
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=3)
    figure.subplots_adjust(top=1 - 0.75 / figure.get_figheight())
    return figure


def _no_op(data: dict[str, Any]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    names = list(data["contenders"])
    for row, found in enumerate(data["contenders"].values()):
        rates = [found["tasks"] / seconds for seconds in found["seconds"]]
        colour = BLUE if names[row].startswith("clip-worker") else GREY
        left.barh(row, median(rates), 0.65, color=colour)
        left.errorbar(median(rates), row, xerr=_whiskers(rates), color="black", linewidth=0.8)
        left.annotate(f"{median(rates):,.0f}", (max(rates), row), (5, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        worker, redis = (
            median([1e6 * s / found["tasks"] for s in found[key]])
            for key in ("cpu_s", "redis_cpu_s")
        )
        right.barh(row, worker, 0.65, color=colour)
        right.barh(row, redis, 0.65, left=worker, color=ORANGE)
        right.annotate(f"{worker + redis:,.0f}", (worker + redis, row), (5, 0),
                       textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.2)
    left.set_xlabel("tasks a second, one worker")
    right.set_xlabel("processor time a task, µs; orange: Redis")
    figure.tight_layout()
    return figure


def _latency(data: dict[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4))
    offered = [100 * one["offered"] / data["saturated_rate"] for one in data["load"]]
    lines = ((0.5, BLUE, "o", "p50"), (0.9, GREEN, "s", "p90"), (0.99, ORANGE, "^", "p99"))
    for part, colour, marker, name in lines:
        values = [1000 * percentile(one["latency_s"], part) for one in data["load"]]
        axes.plot(offered, values, marker=marker, color=colour, label=name)
    idle = 1000 * median(data["idle"]["forward_s"])
    axes.axhline(idle, color=GREY, linestyle="--", label="forward pass of one image alone")
    if axes.get_ylim()[1] > RANGE_FOR_LOG * idle:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylabel("from due to answered, ms")
    axes.set_xlabel(f"offered load, % of saturation ({data['saturated_rate']:.0f} tasks/s)")
    axes.legend()
    figure.tight_layout()
    return figure


def _growth(data: dict[str, Any]) -> Figure:
    figure, ((waiting, workers), (labels, memory)) = plt.subplots(2, 2, figsize=(9, 6.4))
    for axes, rows, key, title in (
        (waiting, data["waiting"], "waiting", "messages waiting"),
        (workers, data["workers"], "workers", "worker processes on one queue"),
    ):
        for name, part, colour, marker in (
            ("worker", "cpu_us", BLUE, "o"),
            ("Redis", "redis_cpu_us", ORANGE, "s"),
        ):
            middles = [median(row[part]) for row in rows]
            ends = [_whiskers(row[part]) for row in rows]
            spread = [[below for [below], _ in ends], [above for _, [above] in ends]]
            axes.errorbar(
                [row[key] for row in rows], middles, yerr=spread, marker=marker,
                color=colour, label=name, capsize=3,
            )  # fmt: skip
        axes.set_xlabel(title)
        axes.set_ylabel("processor time a task, µs")
        axes.set_ylim(bottom=0)
        axes.legend()
    workers.set_xticks([row["workers"] for row in data["workers"]])
    for axes in (waiting, labels):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PLAIN)
    middles = [median(row["cpu_ms"]) for row in data["labels"]]
    labels.plot([row["labels"] for row in data["labels"]], middles, marker="o", color=BLUE)
    labels.set_ylim(bottom=0)
    labels.set_xlabel("labels a task (demo model, cached)")
    labels.set_ylabel("worker's processor time an image, ms")
    lasting = data["lasting"]
    for key, colour, name in (("worker_mb", BLUE, "worker"), ("redis_mb", ORANGE, "Redis")):
        memory.plot(lasting["tasks"], lasting[key], marker=".", color=colour, label=name)
    memory.set_ylim(bottom=0)
    memory.xaxis.set_major_formatter(PLAIN)
    memory.set_xlabel("tasks done")
    memory.set_ylabel("resident memory, MB")
    memory.legend()
    figure.tight_layout()
    return figure


def _whiskers(values: list[float]) -> list[list[float]]:
    middle = median(values)
    return [[middle - min(values)], [max(values) - middle]]
