"""Reads a checkpoint: finds the weights, reads them, and lets each format recognise them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import get_args

from clip_engine.errors import InputError
from clip_engine.formats import hugging_face, open_clip, openai
from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.weights_file import read_weights
from clip_engine.model import Activation

# The first that recognises the weights interprets them; the last takes whatever is left.
FORMATS: tuple[ModuleType, ...] = (hugging_face, openai, open_clip)


def read_checkpoint(path: Path, activation: Activation | None = None) -> Checkpoint:
    """Read a checkpoint of any format.

    Args:
        path: A file of weights, a sharded file's index, or a folder that holds them and a config.
        activation: Of the MLPs, against what the files say; None to go by them. Bare weights don't
            tell it: they are taken for QuickGELU's as OpenAI's, but for OpenCLIP's training
            checkpoints and sizes that only OpenCLIP has, which are taken for GELU's.

    Raises:
        InputError: There is no such activation.
        CheckpointError: Nothing there that can be read, or a model of another kind.
    """
    if activation is not None and activation not in get_args(Activation):
        raise InputError(
            f"The activation is {activation!r}; give one of {', '.join(get_args(Activation))}, or "
            "None to go by the checkpoint."
        )
    weights = read_weights(find_weights(path))
    form = next(form for form in FORMATS if form.recognises(weights))
    checkpoint: Checkpoint = form.interpret(path, weights)
    return checkpoint if activation is None else checkpoint.with_activation(activation)
