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

from worker.cli.demo.images import DemoImage
from worker.cli.output.bar import bar, has_blocks
from worker.contract import Classification, Prediction

BAR_WIDTH = 30
WIDE = 100  # columns, which an image's description takes
TOP = 3
# The stages of worker.contract.Timing, in the order in which an image passes them.
STAGES = {
    "queue": "from sending the task to the worker taking it",
    "labels": "label texts to features, kept for later tasks",
    "fetch": "reading the file",
    "decode": "decoding and resizing the image",
    "batch_wait": "until the model is free for the next batch",
    "forward": "the model's pass over the batch",
    "score": "the image against its labels: the best K",
}
NEXT_STEPS = (
    ("start", "CLIP ViT-B/32 on your Redis"),
    ("classify photos/ --labels cat,dog", "tag a folder with it"),
    ("start --help", "other models, devices, Redis"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one task.

    Attributes:
        image: That it asked about.
        result: None if it failed.
        failure: Why, in one sentence.
    """

    image: DemoImage
    result: Classification | None
    failure: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the most probable label is what was drawn."""
        return self.result is not None and self.result.predictions[0].label == self.image.answer


def print_answers(console: Console, answers: Sequence[Answer]) -> None:
    """Print each image: what was drawn and asked, then the best labels with bars."""
    layout = _Layout.of(console, answers)
    for answer in answers:
        console.print(_headline(answer, described=console.width >= WIDE), soft_wrap=True)
        for line in _lines(answer, layout):
            console.print(line, soft_wrap=True)
    right = sum(answer.is_right for answer in answers)
    console.print(
        f"The best label is what was drawn in [bold]{right} of {len(answers)}[/] images.\n"
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How lines are laid out.

    Attributes:
        blocks: Whether the output has block characters.
        label_width: In columns.
        right: Stands before a best label that is what was drawn.
        wrong: Stands before one that isn't.
    """

    blocks: bool
    label_width: int
    right: Text
    wrong: Text

    @classmethod
    def of(cls, console: Console, answers: Sequence[Answer]) -> Self:
        blocks = has_blocks(console.encoding)
        right, wrong = ("✓", "✗") if blocks else ("=", "x")
        width = max(cell_len(label) for answer in answers for label in answer.image.labels)
        return cls(blocks, width, Text(right, style="green"), Text(wrong, style="red"))


def _headline(answer: Answer, *, described: bool) -> Text:
    image = answer.image
    question = f"the best {image.k} of {len(image.labels)} labels"
    told = f"{image.description}; {question}" if described else question
    truth = "" if answer.is_right else f"; drawn: {image.answer}"
    return Text.assemble((image.file_name, "bold"), (f"  {told}", "dim"), (truth, "yellow"))


def _lines(answer: Answer, layout: _Layout) -> list[Text]:
    if answer.result is None:
        return [Text.assemble("  ", layout.wrong, " ", (answer.failure, "red"))]
    best, *others = answer.result.predictions[:TOP]
    mark = layout.right if answer.is_right else layout.wrong
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


def print_timing(console: Console, answers: Sequence[Answer], total_s: float) -> None:
    """Print where the tasks' time went, stage by stage."""
    timings = [answer.result.timing for answer in answers if answer.result]
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
        f"All {len(answers)} tasks took {total_s:.2f} s; the model saw "
        f"{_listed([str(size) for size in sizes])} images at a time."
    )


def print_next_steps(console: Console) -> None:
    """Print what to do with images and labels of one's own."""
    console.print("\nThe demo's worker and Redis are gone again. To go on:")
    steps = [(f"{_program()} {arguments}", meaning) for arguments, meaning in NEXT_STEPS]
    width = max(len(command) for command, _ in steps)
    for command, meaning in steps:
        console.print(f"  [bold]{command:<{width}}[/]  [dim]{meaning}[/]", soft_wrap=True)


def _program() -> str:
    """How this program is called from where the user stands: by its name if that is on the PATH."""
    called = Path(sys.argv[0])
    if called.name != "clip-worker" or shutil.which("clip-worker"):
        return "clip-worker"
    here = Path.cwd()
    return str(called.relative_to(here) if called.is_relative_to(here) else called)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _listed(words: Sequence[str]) -> str:
    """Join words.

    >>> _listed(["1", "4", "7"])
    '1, 4 and 7'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
