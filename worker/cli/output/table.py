"""The table that `classify` prints, row by row as outcomes arrive.

The widths of its columns depend only on the names and labels, which are known beforehand, so each
row can be printed at once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from click import echo, style

from clip_worker.contract import Classification, Outcome
from worker.cli.output.bar import bar
from worker.cli.output.screen import Screen, cells, cut, fit

GAP = "  "
BAR_WIDTH = 20
NARROW_BAR_WIDTH = 8
NARROW = 80  # columns; below this the bars are shorter
MOST_LABEL_WIDTH = 32
LEAST_NAME_WIDTH = 12
PERCENT_WIDTH = 6  # '100.0%'
SCORE_WIDTH = 8  # '-12.3456'
NONE_OF_THESE = "none of these"
NO_LABEL = "no label above the threshold"


class OutcomeTable:
    """Prints the outcome of one image after the other.

    On a terminal, an image's name is printed beside its first label only, and long names are cut at
    the beginning. Elsewhere every line has the whole name, for `grep` and `awk`.

    Args:
        screen: Where it is printed.
        names: Names of all images.
        labels: Labels of the request.
        has_scores: Whether predictions have a score besides the probability.
    """

    def __init__(
        self,
        screen: Screen,
        names: Sequence[str],
        labels: Sequence[str],
        *,
        has_scores: bool = False,
    ) -> None:
        self._screen = screen
        self._labels = frozenset(labels)
        self._score_width = SCORE_WIDTH + len(GAP) if has_scores else 0
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
            score = GAP + "score" if self._score_width else ""
            columns = self._line(
                "image", fit("label", self._label_width) + GAP + "probability" + score
            )
            self._print(style(columns, dim=True))

    def print_outcome(self, name: str, outcome: Outcome) -> None:
        """Print the lines of one image."""
        if outcome.result is None:
            assert outcome.error is not None
            self._print_error(name, printable(outcome.error.message))
        else:
            for position, row in enumerate(self._rows(outcome.result)):
                self._print(self._line("" if position and self._short else name, row))

    def _print_error(self, name: str, sentence: str) -> None:
        room = self._screen.width - self._name_width - len(GAP)
        lines = textwrap.wrap(sentence, max(room, LEAST_NAME_WIDTH)) if self._short else [sentence]
        for shown, line in zip([name, *[""] * len(lines)], lines, strict=False):
            self._print(self._line(shown, style(line, fg="red")))

    def _rows(self, result: Classification) -> Iterator[str]:
        """The nodes above the labels, from the broadest level on, the labels, and none of these."""
        for level in result.levels or ():
            for node in level:
                if node.label not in self._labels:
                    yield self._row(node.label, node.probability, colour="blue")
        for rank, prediction in enumerate(result.predictions):
            score = "" if prediction.score is None else f"{prediction.score:.4f}"
            colour = "green" if rank == 0 else "cyan"
            yield self._row(
                prediction.label, prediction.probability, score, colour=colour, bold=rank == 0
            )
        if not result.predictions:
            yield style(NO_LABEL, dim=True)
        if result.none_of_these is not None:
            yield self._row(NONE_OF_THESE, result.none_of_these, colour="yellow")

    def _row(
        self, label: str, probability: float, score: str = "", *, colour: str, bold: bool = False
    ) -> str:
        drawn = style(bar(probability, self._bar_width, unicode=self._unicode), fg=colour)
        parts = fit(printable(label), self._label_width), f"{probability:>{PERCENT_WIDTH}.1%}"
        label, percent = (style(part, bold=bold or None) for part in parts)
        return f"{label}{GAP}{drawn} {percent}" + (score and f"{GAP}{score:>{SCORE_WIDTH}}")

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
        taken += self._score_width
        return max(LEAST_NAME_WIDTH, self._screen.width - taken)

    def _print(self, line: str) -> None:
        echo(line, self._screen.file, color=self._screen.colour)


def printable(text: str) -> str:
    r"""The text with every character replaced that is not printable, such as a terminal's escape.

    >>> printable("red\x1b[31m")
    'red\ufffd[31m'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
