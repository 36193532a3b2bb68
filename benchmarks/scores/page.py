"""The figures as tables, for `docs/scores.md`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.bench.machine import sentence

BEGIN, END = "<!-- written by benchmarks/scores -->", "<!-- end -->"
_WRITTEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def write(page: Path, figures: dict[str, Any]) -> None:
    """Put the tables between the page's two comments."""
    text = f"{BEGIN}\n\n{tables(figures)}\n\n{END}"
    page.write_text(_WRITTEN.sub(lambda _: text, page.read_text(encoding="utf-8")), "utf-8")


def tables(figures: dict[str, Any]) -> str:
    """All tables, and the machine."""
    return "\n\n".join(
        [
            "The softmax of 64 coloured shapes, one of which is right:",
            _table(SOFTMAX, _softmax(figures["softmax"])),
            "The same error with a temperature from fewer pictures; median, largest of 20 draws:",
            _table(FEW, _few(figures["softmax"])),
            'The probability of "none of these", with 32 of the coloured shapes as labels:',
            _table(NONE, _rules(figures["none_of_these"])),
            "29 labels of five attributes, each by itself:",
            _table(EACH, _rules(figures["sigmoid"])),
            "The sigmoid of 64 coloured shapes, each by itself:",
            _table(SINGLE, _single(figures["sigmoid"])),
            textwrap.fill(sentence(figures["machine"]), 98),
        ]
    )


SOFTMAX = ("pictures", "right", "mean probability", "error", "temperature", "error, calibrated")
FEW = ("pictures", "not calibrated", "50", "100", "200", "500")
NONE = ("pictures", "rule", "precision at 0.5", "recall at 0.5", "AUC", "error")
EACH = ("pictures", "score", "precision at 0.5", "recall at 0.5", "mean AUC", "error")
COLUMNS = ("precision", "recall", "auc", "ece")
SINGLE = ("pictures", "", "precision at 0.5", "recall at 0.5", "AUC", "error")


def _softmax(kinds: dict[str, Any]) -> Iterable[Iterable[str]]:
    for kind, found in kinds.items():
        before, after = found["before"], found["after"]
        numbers = (before["top1"], before["probability"], before["ece"], found["temperature"])
        yield kind, *map(_number, (*numbers, after["ece"]))


def _few(kinds: dict[str, Any]) -> Iterable[Iterable[str]]:
    for kind, found in kinds.items():
        draws = (f"{_number(e['median'])}, {_number(e['worst'])}" for e in found["few"].values())
        yield kind, _number(found["before"]["ece"]), *draws


def _rules(kinds: dict[str, Any]) -> Iterable[Iterable[str]]:
    for kind, found in kinds.items():
        for rule, measured in found["rules"].items():
            yield kind, rule, *map(_number, map(measured.get, COLUMNS))


def _single(kinds: dict[str, Any]) -> Iterable[Iterable[str]]:
    for kind, found in kinds.items():
        for key, name in (("before", "as it is"), ("after", "calibrated")):
            measured = found["single"][key]
            yield kind, name, *(_number(measured[column]) for column in COLUMNS)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    rule = ["---", *["---:" if i else "---" for i in range(1, len(head))]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])
