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
from worker.cli.demo.images import DemoImage
from worker.cli.output.bar import bar, has_blocks

BAR_WIDTH = 30
WIDE = 100  # columns from which on descriptions are printed
TOP = 3
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
        """Whether the most probable label is the true one."""
        if self.classification is None:
            return False
        return self.classification.predictions[0].label == self.image.answer


def print_results(console: Console, results: Sequence[DemoResult]) -> None:
    """Print each image's name and description, then its best labels with bars."""
    layout = _Layout.of(console, results)
    for result in results:
        console.print(_headline(result, described=console.width >= WIDE), soft_wrap=True)
        for line in _lines(result, layout):
            console.print(line, soft_wrap=True)
    right = sum(result.is_right for result in results)
    console.print(
        f"The most probable label is right for [bold]{right} of {len(results)}[/] images.\n"
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of the lines.

    Attributes:
        blocks: Whether the output has block characters.
        label_width: Width of the labels, in columns.
        right: Mark of a best label that is right.
        wrong: Mark of one that is not.
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
    request = f"the best {image.k} of {len(image.labels)} labels"
    text = f"{image.description}; {request}" if described else request
    truth = "" if result.is_right else f"; right would be: {image.answer}"
    return Text.assemble((image.file_name, "bold"), (f"  {text}", "dim"), (truth, "yellow"))


def _lines(result: DemoResult, layout: _Layout) -> list[Text]:
    if result.classification is None:
        return [Text.assemble("  ", layout.wrong, " ", (result.failure, "red"))]
    best, *others = result.classification.predictions[:TOP]
    mark = layout.right if result.is_right else layout.wrong
    lines = [_line(best, layout, mark, "bold", "green")]
    return lines + [_line(other, layout, Text(" "), "", "cyan") for other in others]


def _line(prediction: Prediction, layout: _Layout, mark: Text, emphasis: str, colour: str) -> Text:
    drawn = bar(prediction.probability, BAR_WIDTH, unicode=layout.blocks)
    return Text.assemble(
        "  ",
        mark,
        " ",
        (set_cell_size(prediction.label, layout.label_width), emphasis),
        "  ",
        (drawn, colour),
        (f" {prediction.probability:6.1%}", emphasis),
    )


def print_timing(console: Console, results: Sequence[DemoResult], total_s: float) -> None:
    """Print how long the tasks took in each stage."""
    timings = [result.classification.timing for result in results if result.classification]
    if not timings:
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("max", justify="right", no_wrap=True)
    table.add_column("what it is", style="dim", no_wrap=True)
    for stage, meaning in STAGES.items():
        seconds = [getattr(timing, stage) or 0.0 for timing in timings]
        table.add_row(stage, _milliseconds(median(seconds)), _milliseconds(max(seconds)), meaning)
    sizes = sorted({timing.batch_size for timing in timings})
    console.print(table)
    console.print(
        f"All {len(results)} tasks took {total_s:.2f} s, in batches of "
        f"{_listed([str(size) for size in sizes])} images."
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


def _listed(words: Sequence[str]) -> str:
    """Join words with commas and "and".

    >>> _listed(["1", "4", "7"])
    '1, 4 and 7'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
