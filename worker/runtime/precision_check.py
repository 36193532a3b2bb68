"""Warns of a precision that this processor only makes slower.

bfloat16 takes half of float32's time on processors that multiply it, and several times as long on
those that don't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_engine.acceleration.product_times import product_times_s

if TYPE_CHECKING:
    from clip_engine.dual_encoder import DualEncoder

NOTABLE = 1.2  # less may be noise


def check_precision(model: DualEncoder) -> str | None:
    """A warning if float32 is faster than the model's precision on this CPU."""
    if model.device.type != "cpu" or model.precision == "float32":
        return None
    exact_s, rough_s = product_times_s(("float32", model.precision))
    if rough_s < NOTABLE * exact_s:
        return None
    return (
        f"a matrix product in {model.precision} takes {rough_s / exact_s:.1f} times as long as in "
        "float32 on this processor; set CLIP_WORKER_PRECISION=float32, or let `clip-worker tune` "
        "find the fastest"
    )
