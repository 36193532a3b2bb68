"""The rows of `clip-worker classify`, and their bars."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from support.cli_client import FakeClient

from worker.cli.output.bar import bar, has_blocks
from worker.cli.output.table import AnswerTable
from worker.contract import Failure, Outcome

LABELS = ("a tabby cat", "a dog")


class Output(io.TextIOWrapper):
    """Takes text of one encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding)

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def table(output: Output, names: list[str], *, terminal: bool, width: int = 80) -> AnswerTable:
    console = Console(file=output, force_terminal=terminal, width=width, color_system=None)
    return AnswerTable(console, names, LABELS)


def answer(k: int = 2) -> Outcome:
    [(_, outcome)] = FakeClient().classify_many(
        ["data:,"], chunk=1, in_flight=1, timeout=1, labels=LABELS, k=k
    )
    return outcome


def test_on_a_terminal_a_name_stands_beside_its_first_label_only():
    output = Output("utf-8")
    rows = table(output, ["cat.jpg"], terminal=True)

    rows.print_header()
    rows.print_answer("cat.jpg", answer())

    assert output.text.splitlines() == [
        "picture  label        probability",
        "cat.jpg  a tabby cat  ██████████            50.0%",
        "         a dog        █████                 25.0%",
    ]


def test_elsewhere_every_line_has_the_whole_name_and_no_line_is_cut():
    output = Output("utf-8")
    name = "/a/very/long/path/" + 20 * "folder/" + "cat.jpg"

    table(output, [name], terminal=False).print_answer(name, answer())

    lines = output.text.splitlines()
    assert [line.split("  ")[0] for line in lines] == [name, name]
    assert lines[1].endswith("25.0%")


def test_on_a_terminal_a_long_name_loses_its_beginning():
    output = Output("utf-8")
    name = "/a/very/long/path/" + 20 * "folder/" + "cat.jpg"

    table(output, [name], terminal=True).print_answer(name, answer(k=1))

    [line] = output.text.splitlines()
    assert len(line) == 80
    assert line.startswith("…")
    assert "folder/cat.jpg  a tabby cat" in line


def test_names_of_wide_characters_keep_the_columns_straight():
    output = Output("utf-8")
    rows = table(output, ["猫.jpg", "cat.jpg"], terminal=True)

    rows.print_answer("猫.jpg", answer(k=1))
    rows.print_answer("cat.jpg", answer(k=1))

    wide, narrow = output.text.splitlines()
    assert wide.index("a tabby") == narrow.index("a tabby") - 1


def test_a_failures_sentence_is_wrapped_beside_the_name():
    output = Output("utf-8")
    failure = Failure(type="ImageInvalidError", code="X", message="These bytes " * 10)

    table(output, ["cat.jpg"], terminal=True).print_answer(
        "cat.jpg", Outcome(status="error", error=failure)
    )

    first, second = output.text.splitlines()
    assert first.startswith("cat.jpg  These bytes")
    assert second.startswith(("         These bytes", "         bytes"))
    assert len(first) <= 80


def test_a_picture_of_which_no_label_is_left_has_a_line():
    output = Output("utf-8")
    outcome = answer()
    assert outcome.result is not None
    outcome = outcome.model_copy(
        update={"result": outcome.result.model_copy(update={"predictions": ()})}
    )

    table(output, ["cat.jpg"], terminal=False).print_answer("cat.jpg", outcome)

    assert output.text == "cat.jpg  no label is probable enough\n"


def test_an_output_without_block_characters_gets_plain_bars():
    output = Output("ascii")

    table(output, ["cat.jpg"], terminal=False).print_answer("cat.jpg", answer(k=1))

    assert output.text == "cat.jpg  a tabby cat  ##########            50.0%\n"


@pytest.mark.parametrize(
    ("fraction", "drawn"),
    [(0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.03125, "▏   "), (0.9999, "████")],
)
def test_a_bar_is_exact_to_an_eighth(fraction, drawn):
    assert bar(fraction, 4) == drawn


def test_utf_8_has_blocks_and_latin_1_has_none():
    assert has_blocks("utf-8")
    assert not has_blocks("latin-1")
