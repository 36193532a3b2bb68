"""What the demo prints about its results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clip_worker.contract import Classification, Prediction
from worker.cli.demo.drawings import Drawing
from worker.cli.demo.images import DemoImage
from worker.cli.output.bar import bar, has_blocks

BAR_WIDTH = 30
WIDE = 100  # columns from which on descriptions are printed
# The stages of clip_worker.contract.Timing, in their order.
STAGES = {
    "queue": "from sending the task until a worker takes it",
    "labels": "encoding the labels, which are cached for later tasks",
    "fetch": "reading the file",
    "decode": "decoding and resizing the image",
    "batch_wait": "waiting until the model is free for the next batch",
    "forward": "the model's forward pass over the batch",
    "score": "comparing the image with its labels: the best K",
}
NEXT_STEPS = (
    ("start", "run CLIP ViT-B/32 on your Redis"),
    ("classify photos/ --labels cat,dog", "classify a folder of images"),
    ("start --help", "choose another model, device or Redis"),
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of one task.

    Attributes:
        image: Its image.
        classification: None if it failed.
        failure: The reason, in one sentence.
    """

    image: DemoImage
    classification: Classification | None
    failure: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the labels that are true are the most probable ones."""
        if self.classification is None:
            return False
        best = self.classification.predictions[: len(self.image.true)]
        return {prediction.label for prediction in best} == set(self.image.true)


@dataclass(frozen=True, slots=True)
class ManyResults:
    """The results of many tasks.

    Attributes:
        drawings: The images.
        classifications: Their results, in the same order.
        lists: How many different lists of labels there were.
        seconds: From sending the first to reading the last result.
    """

    drawings: Sequence[Drawing]
    classifications: Sequence[Classification]
    lists: int
    seconds: float

    @property
    def are_right(self) -> list[bool]:
        """For each image whether its most probable label is the right one."""
        pairs = zip(self.drawings, self.classifications, strict=True)
        return [found.predictions[0].label == drawing.answer for drawing, found in pairs]

    @property
    def batches(self) -> int:
        """How many batches there were, as far as these images tell."""
        return round(sum(1 / found.timing.batch_size for found in self.classifications))


def print_results(console: Console, results: Sequence[DemoResult]) -> None:
    """Print each image's name and description, then its labels with bars."""
    layout = _Layout.of(console, results)
    for result in results:
        console.print(_headline(result, described=console.width >= WIDE), soft_wrap=True)
        for line in _lines(result, layout):
            console.print(line, soft_wrap=True)
    right = sum(result.is_right for result in results)
    console.print(
        "Labels that are true of an image share its 100 %. They are above all others for "
        f"[bold]{right} of {len(results)}[/] images.\n",
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of the lines.

    Attributes:
        blocks: Whether the output has block characters.
        label_width: Width of the labels, in columns.
        right: Mark of a label that is true.
        wrong: Mark of a task that failed.
    """

    blocks: bool
    label_width: int
    right: Text
    wrong: Text

    @classmethod
    def of(cls, console: Console, results: Sequence[DemoResult]) -> Self:
        blocks = has_blocks(console.encoding)
        right, wrong = ("✓", "✗") if blocks else ("=", "x")
        width = max(cell_len(label) for result in results for label in result.image.labels)
        return cls(blocks, width, Text(right, style="green"), Text(wrong, style="red"))


def _headline(result: DemoResult, *, described: bool) -> Text:
    image = result.image
    text = f"  {image.description}" if described else ""
    missed = "" if result.is_right else f"; true are: {', '.join(image.true)}"
    return Text.assemble((image.file_name, "bold"), (text, "dim"), (missed, "yellow"))


def _lines(result: DemoResult, layout: _Layout) -> list[Text]:
    if result.classification is None:
        return [Text.assemble("  ", layout.wrong, " ", (result.failure, "red"))]
    return [
        _line(prediction, layout, is_true=prediction.label in result.image.true)
        for prediction in result.classification.predictions
    ]


def _line(prediction: Prediction, layout: _Layout, *, is_true: bool) -> Text:
    drawn = bar(prediction.probability, BAR_WIDTH, unicode=layout.blocks)
    emphasis = "" if is_true else "dim"
    return Text.assemble(
        "  ",
        layout.right if is_true else Text(" "),
        " ",
        (set_cell_size(prediction.label, layout.label_width), emphasis),
        "  ",
        (drawn, "green" if is_true else "red"),
        (f" {prediction.probability:6.1%}", emphasis),
    )


def print_many(console: Console, many: ManyResults) -> None:
    """Print how long the tasks took in each stage."""
    timings = [found.timing for found in many.classifications]
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("max", justify="right", no_wrap=True)
    table.add_column("what it is", style="dim", no_wrap=True)
    for stage, meaning in STAGES.items():
        seconds = [getattr(timing, stage) or 0.0 for timing in timings]
        table.add_row(stage, _milliseconds(median(seconds)), _milliseconds(max(seconds)), meaning)
    console.print(table)


def print_summary(console: Console, results: Sequence[DemoResult], many: ManyResults) -> None:
    """Print what the demo did."""
    images, batches = len(many.drawings), max(1, many.batches)
    console.print(
        f"\nTagged {len(results)} images, then {images:,} more in {many.seconds:.1f} s: "
        f"[bold]{images / many.seconds:,.0f} images/s[/], in {batches:,} batches of "
        f"{images / batches:.1f} on average.\n"
        f"{many.lists:,} different lists of labels shared these batches. The best label was right "
        f"for [bold]{sum(many.are_right):,} of {images:,}[/].",
        soft_wrap=True,
    )


def print_next_steps(console: Console) -> None:
    """Print which commands to try next."""
    console.print("\nThe demo's worker and Redis were stopped. Next steps:")
    steps = [(f"{_program()} {arguments}", meaning) for arguments, meaning in NEXT_STEPS]
    width = max(len(command) for command, _ in steps)
    for command, meaning in steps:
        console.print(f"  [bold]{command:<{width}}[/]  [dim]{meaning}[/]", soft_wrap=True)


def _program() -> str:
    """How to call this program from the current folder: by its name if that is on the PATH."""
    called = Path(sys.argv[0])
    if called.name != "clip-worker" or shutil.which("clip-worker"):
        return "clip-worker"
    here = Path.cwd()
    return str(called.relative_to(here) if called.is_relative_to(here) else called)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
