"""The rows of `clip-worker classify`, and their bars."""

from __future__ import annotations

import io

import click
import pytest
from support.answers import ANSWER

from clip_worker.contract import Failure, Outcome, Prediction
from worker.cli.classify.progress import with_progress
from worker.cli.output.bar import bar, has_blocks
from worker.cli.output.screen import Screen
from worker.cli.output.table import OutcomeTable

PREDICTIONS = (
    Prediction(label="a tabby cat", probability=0.5, index=0),
    Prediction(label="a dog", probability=0.25, index=1),
)
LONG_NAME = "/a/very/long/path/" + 20 * "folder/" + "cat.jpg"


def printed(
    *rows: tuple[str, Outcome], terminal: bool, encoding: str = "utf-8", has_scores: bool = False
) -> list[str]:
    """The lines that are printed for images with these outcomes."""
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    table = OutcomeTable(
        Screen(file, terminal, 80),
        [name for name, _ in rows],
        [one.label for one in PREDICTIONS],
        has_scores=has_scores,
    )
    table.print_header()
    for name, outcome in rows:
        table.print_outcome(name, outcome)
    file.flush()
    return click.unstyle(file.buffer.getvalue().decode(encoding)).splitlines()


def outcome(k: int = 2) -> Outcome:
    result = ANSWER.model_copy(update={"predictions": PREDICTIONS[:k]})
    return Outcome(status="ok", result=result)


def test_on_a_terminal_a_name_is_printed_beside_its_first_label_only():
    assert printed(("cat.jpg", outcome()), terminal=True) == [
        "image    label        probability",
        "cat.jpg  a tabby cat  ██████████            50.0%",
        "         a dog        █████                 25.0%",
    ]


def test_elsewhere_every_line_has_the_whole_name_and_no_line_is_cut():
    lines = printed((LONG_NAME, outcome()), terminal=False)

    assert [line.split("  ")[0] for line in lines] == [LONG_NAME, LONG_NAME]
    assert lines[1].endswith("25.0%")


def test_on_a_terminal_a_long_name_is_cut_at_its_beginning():
    _, line = printed((LONG_NAME, outcome(k=1)), terminal=True)

    assert len(line) == 80
    assert line.startswith("…")
    assert "folder/cat.jpg  a tabby cat" in line


def test_names_with_wide_characters_keep_the_columns_aligned():
    rows = ("猫.jpg", outcome(k=1)), ("cat.jpg", outcome(k=1))
    _, wide, narrow = printed(*rows, terminal=True)

    assert wide.index("a tabby") == narrow.index("a tabby") - 1


def test_an_error_message_is_wrapped_beside_the_name():
    failure = Failure(type="ImageInvalidError", code="X", message="These bytes " * 10)
    _, first, second = printed(("cat.jpg", Outcome(status="error", error=failure)), terminal=True)

    assert first.startswith("cat.jpg  These bytes")
    assert second.startswith(("         These bytes", "         bytes"))
    assert len(first) <= 80


def test_an_image_without_predictions_has_a_line():
    lines = printed(("cat.jpg", outcome(k=0)), terminal=False)

    assert lines == ["cat.jpg  no label above the threshold"]


def test_none_of_these_is_printed_also_where_no_label_is_above_the_threshold():
    nothing = outcome(k=0).result.model_copy(update={"none_of_these": 0.75})
    lines = printed(("cat.jpg", Outcome(status="ok", result=nothing)), terminal=False)

    assert lines[0] == "cat.jpg  no label above the threshold"
    assert lines[1].startswith("cat.jpg  none of the")
    assert lines[1].endswith("75.0%")


def test_scores_have_a_column_that_fits_on_the_terminal():
    predictions = [
        PREDICTIONS[0].model_copy(update={"score": 27.5}),
        PREDICTIONS[1].model_copy(update={"score": -3.25}),
    ]
    result = ANSWER.model_copy(update={"predictions": predictions})
    rows = ((LONG_NAME, Outcome(status="ok", result=result)),)
    header, first, second = printed(*rows, terminal=True, has_scores=True)

    assert header.split() == ["image", "label", "probability", "score"]
    assert first.endswith(" 50.0%   27.5000")
    assert second.endswith(" 25.0%   -3.2500")
    assert len(first) == len(second) == 80


def test_an_output_without_block_characters_gets_plain_bars():
    lines = printed(("cat.jpg", outcome(k=1)), terminal=False, encoding="ascii")

    assert lines == ["cat.jpg  a tabby cat  ##########            50.0%"]
    assert (has_blocks("utf-8"), has_blocks("latin-1")) == (True, False)


@pytest.mark.parametrize(
    ("fraction", "drawn"),
    [(0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.03125, "▏   "), (0.9999, "████")],
)
def test_a_bar_is_exact_to_an_eighth_of_a_character(fraction, drawn):
    assert bar(fraction, 4) == drawn


def test_the_progress_line_is_erased_before_an_outcome_is_printed():
    # given a terminal, as a list of what it shows after each carriage return
    file = io.StringIO()
    screen = Screen(file, is_terminal=True, width=80)
    seen = []
    # when
    for index, _ in with_progress([(0, outcome()), (1, outcome())], 2, screen):
        seen.append((index, file.getvalue().split("\r")[-3:]))
    # then
    blank = [" " * len("waiting for a worker"), ""]
    assert seen[0] == (0, ["waiting for a worker", *blank])
    line = f"classifying {bar(0.5, 30, unicode=True)} 1/2"
    assert seen[1] == (1, [line, " " * len(line), ""])
    assert file.getvalue().endswith("\r")


def test_a_progress_line_is_erased_when_waiting_fails_and_elsewhere_there_is_none():
    def failing():
        yield 0, outcome()
        raise KeyboardInterrupt

    for is_terminal in (True, False):
        file = io.StringIO()
        with pytest.raises(KeyboardInterrupt):
            list(with_progress(failing(), 2, Screen(file, is_terminal, 80)))
        assert file.getvalue().endswith("\r") == is_terminal
        assert bool(file.getvalue()) == is_terminal
