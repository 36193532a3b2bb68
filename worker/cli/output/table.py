"""The table that `classify` prints, row by row as outcomes arrive.

The widths of its columns depend only on the names and labels, which are known beforehand, so each
row can be printed at once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from clip_worker.contract import Classification, Outcome, Prediction
from worker.cli.output.bar import bar, has_blocks

GAP = 2
BAR_WIDTH = 20
NARROW_BAR_WIDTH = 8
NARROW = 80  # columns; below this the bars are shorter
MOST_LABEL_WIDTH = 32
LEAST_NAME_WIDTH = 12
PERCENT_WIDTH = 6  # '100.0%'


class OutcomeTable:
    """Prints the outcome of one image after the other.

    On a terminal, an image's name is printed beside its first label only, and long names are cut at
    the beginning. Elsewhere every line has the whole name, for `grep` and `awk`.

    Args:
        console: Prints the table.
        names: Names of all images.
        labels: Labels of the request.
    """

    def __init__(self, console: Console, names: Sequence[str], labels: Sequence[str]) -> None:
        self._console = console
        self._short = console.is_terminal
        self._unicode = has_blocks(console.encoding)
        self._bar_width = BAR_WIDTH if console.width >= NARROW else NARROW_BAR_WIDTH
        label_width = max(cell_len(printable(label)) for label in (*labels, "label"))
        self._label_width = min(label_width, MOST_LABEL_WIDTH) if self._short else label_width
        name_width = max(cell_len(printable(name)) for name in (*names, "image"))
        self._name_width = min(name_width, self._room_for_names()) if self._short else name_width

    def print_header(self) -> None:
        """Print the columns' names, if on a terminal."""
        if self._short:
            name, label = self._name("image"), set_cell_size("label", self._label_width)
            self._print(Text(f"{name}{GAP * ' '}{label}{GAP * ' '}probability", style="dim"))

    def print_outcome(self, name: str, outcome: Outcome) -> None:
        """Print the lines of one image."""
        if outcome.result is None:
            assert outcome.error is not None
            self._print_error(name, printable(outcome.error.message))
        elif not outcome.result.predictions:
            self._print(self._line(name, Text("no label above the threshold", style="dim")))
        else:
            self._print_predictions(name, outcome.result)

    def _print_error(self, name: str, sentence: str) -> None:
        room = self._console.width - self._name_width - GAP
        lines = textwrap.wrap(sentence, max(room, LEAST_NAME_WIDTH)) if self._short else [sentence]
        for shown, line in zip([name, *[""] * len(lines)], lines, strict=False):
            self._print(self._line(shown, Text(line, style="red")))

    def _print_predictions(self, name: str, result: Classification) -> None:
        for rank, prediction in enumerate(result.predictions):
            shown = name if rank == 0 or not self._short else ""
            self._print(self._line(shown, self._prediction(prediction, best=rank == 0)))

    def _prediction(self, prediction: Prediction, *, best: bool) -> Text:
        label = set_cell_size(printable(prediction.label), self._label_width)
        drawn = bar(prediction.probability, self._bar_width, unicode=self._unicode)
        percent = f"{prediction.probability:>{PERCENT_WIDTH}.1%}"
        return Text.assemble(
            (label, "bold" if best else ""),
            GAP * " ",
            (drawn, "green" if best else "cyan"),
            " ",
            (percent, "bold" if best else ""),
        )

    def _line(self, name: str, rest: Text) -> Text:
        return Text.assemble((self._name(name), ""), GAP * " ", rest)

    def _name(self, name: str) -> str:
        text = printable(name)
        excess = cell_len(text) - self._name_width
        return (
            ("…" if self._unicode else "~") + text[excess + 1 :]
            if excess > 0
            else (set_cell_size(text, self._name_width))
        )

    def _room_for_names(self) -> int:
        taken = self._label_width + self._bar_width + PERCENT_WIDTH + 2 * GAP + 1
        return max(LEAST_NAME_WIDTH, self._console.width - taken)

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def printable(text: str) -> str:
    r"""The text with every character replaced that is not printable, such as a terminal's escape.

    >>> printable("red\x1b[31m")
    'red\ufffd[31m'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
