"""Plots from the figures, as SVG, in the style of the other benchmarks'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.bench.plots import BLUE, GREEN, GREY, ORANGE, STYLE, YELLOW

RULES = {
    "softmax": (BLUE, "-"),
    "softmax, calibrated": (BLUE, "--"),
    "sigmoid": (ORANGE, "-"),
    "sigmoid, calibrated": (ORANGE, "--"),
    "1 - largest softmax": (GREY, ":"),
}
AREA = 300  # of the largest dot, in square points


def draw(figures: dict[str, Any], folder: Path) -> None:
    """Write `reliability.svg` and `precision-recall.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("Agg")  # files only
    with mpl.rc_context(STYLE):
        _save(_reliability(figures), folder / "reliability.svg")
        _save(_precision_recall(figures), folder / "precision-recall.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _reliability(figures: dict[str, Any]) -> Figure:
    figure, both = plt.subplots(1, 2, figsize=(9, 4.2))
    softmax = figures["softmax"]["24x24"]
    sigmoid = figures["sigmoid"]["24x24"]["single"]
    for axes, found, title in (
        (both[0], softmax, "softmax: the best of 64 labels"),
        (both[1], sigmoid, "sigmoid: each of 64 labels"),
    ):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        _bins(axes, found["before"], ORANGE, "o", "as it is")
        _bins(axes, found["after"], BLUE, "s", "calibrated")
        axes.set(title=title, xlabel="stated probability", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.legend(loc="upper left")
    both[0].set_ylabel("share that is right")
    return figure


def _bins(axes: Axes, found: dict[str, Any], colour: str, marker: str, name: str) -> None:
    """A line through the bins; the more predictions a bin has, the larger its dot."""
    stated, right, count = found["reliability"]
    label = f"{name}: error {found['ece']:.3f}"
    axes.plot(stated, right, color=colour, marker=marker, markersize=3, label=label)
    largest = max(count)
    axes.scatter(
        stated, right, [AREA * each / largest for each in count], colour, marker, alpha=0.4
    )


def _precision_recall(figures: dict[str, Any]) -> Figure:
    figure, (none, each) = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True)
    found = figures["none_of_these"]["24x24"]["rules"]
    for name, (colour, dashes) in RULES.items():
        _curve(none, found[name], colour, dashes, name)
    found = figures["sigmoid"]["24x24"]["rules"]
    _curve(each, found["sigmoid"], ORANGE, "-", "sigmoid")
    _curve(each, found["softmax"], GREEN, "-", "softmax")
    thresholds = found["sigmoid, thresholds"]
    each.plot(
        thresholds["recall"], thresholds["precision"], marker="*", markersize=12, color=YELLOW,
        linestyle="none", label="sigmoid, a threshold a label",
    )  # fmt: skip
    none.set(title='"none of these"', xlabel="recall", ylabel="precision", ylim=(0, 1.03))
    each.set(title="29 labels, five of them true", xlabel="recall", xlim=(-0.03, 1.03))
    for axes in (none, each):
        axes.legend(loc="lower left")
    return figure


def _curve(axes: Axes, found: dict[str, Any], colour: str, dashes: str, name: str) -> None:
    """The curve, and a dot where the probability is 0.5."""
    recall, precision = zip(*found["curve"], strict=True)
    axes.plot(recall, precision, color=colour, linestyle=dashes, label=name)
    axes.plot(found["recall"], found["precision"], marker="o", color=colour, markersize=6)
