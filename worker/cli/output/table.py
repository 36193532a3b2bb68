"""The table that `classify` prints, row by row as outcomes arrive.

The widths of its columns depend only on the names and labels, which are known beforehand, so each
row can be printed at once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from click import echo, style

from clip_worker.contract import Classification, Outcome, Prediction
from worker.cli.output.bar import bar
from worker.cli.output.screen import Screen, cells, cut, fit

GAP = "  "
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
        screen: Where it is printed.
        names: Names of all images.
        labels: Labels of the request.
    """

    def __init__(self, screen: Screen, names: Sequence[str], labels: Sequence[str]) -> None:
        self._screen = screen
        self._short = screen.is_terminal
        self._unicode = screen.unicode
        self._bar_width = BAR_WIDTH if screen.width >= NARROW else NARROW_BAR_WIDTH
        label_width = max(cells(printable(label)) for label in (*labels, "label"))
        self._label_width = min(label_width, MOST_LABEL_WIDTH) if self._short else label_width
        name_width = max(cells(printable(name)) for name in (*names, "image"))
        self._name_width = min(name_width, self._room_for_names()) if self._short else name_width

    def print_header(self) -> None:
        """Print the columns' names, if on a terminal."""
        if self._short:
            columns = self._line("image", fit("label", self._label_width) + GAP + "probability")
            self._print(style(columns, dim=True))

    def print_outcome(self, name: str, outcome: Outcome) -> None:
        """Print the lines of one image."""
        if outcome.result is None:
            assert outcome.error is not None
            self._print_error(name, printable(outcome.error.message))
        elif not outcome.result.predictions:
            self._print(self._line(name, style("no label above the threshold", dim=True)))
        else:
            self._print_predictions(name, outcome.result)

    def _print_error(self, name: str, sentence: str) -> None:
        room = self._screen.width - self._name_width - len(GAP)
        lines = textwrap.wrap(sentence, max(room, LEAST_NAME_WIDTH)) if self._short else [sentence]
        for shown, line in zip([name, *[""] * len(lines)], lines, strict=False):
            self._print(self._line(shown, style(line, fg="red")))

    def _print_predictions(self, name: str, result: Classification) -> None:
        for rank, prediction in enumerate(result.predictions):
            shown = name if rank == 0 or not self._short else ""
            self._print(self._line(shown, self._prediction(prediction, best=rank == 0)))

    def _prediction(self, prediction: Prediction, *, best: bool) -> str:
        label = fit(printable(prediction.label), self._label_width)
        drawn = bar(prediction.probability, self._bar_width, unicode=self._unicode)
        percent = f"{prediction.probability:>{PERCENT_WIDTH}.1%}"
        colour = "green" if best else "cyan"
        label, percent = (style(part, bold=best or None) for part in (label, percent))
        return f"{label}{GAP}{style(drawn, fg=colour)} {percent}"

    def _line(self, name: str, rest: str) -> str:
        return self._name(name) + GAP + rest

    def _name(self, name: str) -> str:
        text = printable(name)
        if cells(text) <= self._name_width:
            return fit(text, self._name_width)
        end = cut(text[::-1], self._name_width - 1)[::-1]
        return fit(("…" if self._unicode else "~") + end, self._name_width)

    def _room_for_names(self) -> int:
        taken = self._label_width + self._bar_width + PERCENT_WIDTH + 2 * len(GAP) + 1
        return max(LEAST_NAME_WIDTH, self._screen.width - taken)

    def _print(self, line: str) -> None:
        echo(line, self._screen.file, color=self._screen.colour)


def printable(text: str) -> str:
    r"""The text with every character replaced that is not printable, such as a terminal's escape.

    >>> printable("red\x1b[31m")
    'red\ufffd[31m'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
