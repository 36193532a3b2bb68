"""A precision that this processor only makes slower is warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from support.tiny_clip import tiny_engine

from clip_engine.acceleration import product_times
from clip_engine.acceleration.product_times import product_times_s
from worker.runtime import precision_check
from worker.runtime.precision_check import check_precision

if TYPE_CHECKING:
    from clip_engine.precision import Precision


def test_a_slower_precision_is_named_with_its_factor_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Precision, ...]] = []

    def times(precisions: tuple[Precision, ...]) -> list[float]:
        asked.append(precisions)
        return [0.001, 0.0065]

    monkeypatch.setattr(precision_check, "product_times_s", times)
    warning = check_precision(tiny_engine(precision="bfloat16").model)
    assert asked == [("float32", "bfloat16")]
    assert warning is not None
    assert "bfloat16 takes 6.5 times as long as in float32" in warning
    assert "CLIP_WORKER_PRECISION=float32" in warning


@pytest.mark.parametrize("rough_s", [0.0005, 0.0011])
def test_a_precision_that_is_as_fast_is_not(
    monkeypatch: pytest.MonkeyPatch, rough_s: float
) -> None:
    monkeypatch.setattr(precision_check, "product_times_s", lambda _: [0.001, rough_s])
    assert check_precision(tiny_engine(precision="int8").model) is None


def test_float32_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_check, "product_times_s", lambda _: pytest.fail("measured"))
    assert check_precision(tiny_engine().model) is None


def test_a_product_is_timed_in_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(product_times.time, "perf_counter", lambda: float(next(ticks)))
    seen: list[torch.dtype] = []
    monkeypatch.setattr(torch.nn.Sequential, "forward", lambda _, x: seen.append(x.dtype))
    assert product_times_s(("float32", "bfloat16", "int8")) == [1.0, 1.0, 1.0]
    assert len(seen) == 3 * product_times.ROUNDS
