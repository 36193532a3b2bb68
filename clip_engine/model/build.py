"""Builds a model from a state dict in OpenAI's layout, and reports all that doesn't match."""

from __future__ import annotations

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.model.clip import CLIP
from clip_engine.model.config import OPENAI_TRAITS, StateDict, Traits, infer_config
from clip_engine.model.state_dict_diff import name_problems

# OpenAI's archives hold these three numbers as tensors beside the weights.
METADATA_KEYS = frozenset({"input_resolution", "context_length", "vocab_size"})


def build_model(state: StateDict, traits: Traits = OPENAI_TRAITS) -> CLIP:
    """Build the model of these weights, in float32, on the CPU, in eval mode.

    Args:
        state: Weights by name, in any float dtype. They are copied, never changed.
        traits: What can't be inferred from the weights.

    Raises:
        CheckpointError: Keys are missing or unexpected, or shapes differ; the message lists them.
    """
    config = infer_config(state, traits)
    with torch.device("meta"):
        model = CLIP(config)
    weights = {key: value for key, value in state.items() if key not in METADATA_KEYS}
    expected = model.state_dict()
    weights = _step_counters(expected) | weights
    _check(expected, weights)
    model.load_state_dict({key: _to_float32(value) for key, value in weights.items()}, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def _to_float32(weight: Tensor) -> Tensor:
    # A copy also of float32, so that the model never shares memory with the caller's dict.
    return weight.to(
        "cpu", torch.float32 if weight.is_floating_point() else weight.dtype, copy=True
    )


def _step_counters(expected: StateDict) -> dict[str, Tensor]:
    """BatchNorm's step counters, which checkpoints of old torch versions lack; unused in eval."""
    names = (key for key in expected if key.endswith("num_batches_tracked"))
    return {name: torch.zeros((), dtype=torch.int64) for name in names}


def _check(expected: StateDict, weights: StateDict) -> None:
    wrong_shapes = [
        f"{key} is {_shape(weights[key])}, not {_shape(expected[key])}"
        for key in expected.keys() & weights.keys()
        if expected[key].shape != weights[key].shape
    ]
    missing, unexpected = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if problems := name_problems(missing, unexpected, wrong_shapes):
        raise CheckpointError(
            f"The weights don't match a CLIP model: {problems}. "
            "Give a CLIP checkpoint in OpenAI's layout."
        )


def _shape(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "scalar"
