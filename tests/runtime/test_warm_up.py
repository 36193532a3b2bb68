"""What a start says of its warm-up, and how many batches run at the same time."""

from __future__ import annotations

import pytest

from clip_engine.inference.warm_up import WarmUp
from worker.runtime import assembly, signals
from worker.settings import Settings


@pytest.mark.parametrize(
    ("graphs", "sizes"),
    [((8,), "8"), ((1, 2, 3, 4), "1, 2, 3, 4"), ((1, 2, 3, 4, 6, 8), "1, 2, ..., 8")],
)
def test_the_start_says_which_graphs_were_recorded_and_how_long_that_took(
    graphs: tuple[int, ...], sizes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    signals._say_what_was_recorded(WarmUp(8.06, graphs))
    assert capsys.readouterr().err == (
        f"clip-worker: recorded CUDA graphs of {sizes} images in 8.1 s\n"
    )


def test_a_start_that_recorded_none_says_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    signals._say_what_was_recorded(WarmUp(8.06))
    assert not capsys.readouterr().err


def test_on_a_gpu_two_batches_are_in_flight_unless_another_number_is_set() -> None:
    assert assembly.replicas(Settings(), "cuda:1") == 2
    assert assembly.replicas(Settings(replicas=3), "cuda:1") == 3
