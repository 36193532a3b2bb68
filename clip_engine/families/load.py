"""Loads a located model with the library of its family."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import DualEncoder
from clip_engine.errors import InputError
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.families.open_clip import load_open_clip
from clip_engine.families.recognise import Family, recognise, tag_config
from clip_engine.families.transformers import load_transformers
from clip_engine.formats import read_checkpoint
from clip_engine.formats.checkpoint import Checkpoint, digest_of
from clip_engine.model import Activation
from clip_engine.precision import Precision, default_precision
from clip_engine.tokenizer import Tokenizer
from clip_engine.weights.located import LocatedModel


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device.

    Attributes:
        encoder: The model.
        family: What it is, and the library that loaded it.
        digest: SHA-256 of all that determines its results, in hexadecimal.
        format: A description of its files' format, for people.
    """

    encoder: DualEncoder
    family: Family
    digest: str
    format: str


def load_dual_encoder(
    located: LocatedModel,
    *,
    device: torch.device,
    precision: Precision | None = "float32",
    activation: Activation | None = None,
    acceleration: Acceleration | None = None,
) -> LoadedModel:
    """Load a model of any family.

    Args:
        located: The model's files.
        device: Where both towers run.
        precision: Of the image tower's matrix products; None for the default of the device and the
            checkpoint.
        activation: Of our own CLIP's MLPs; None to use the model's.
        acceleration: Which accelerations are on; None for all.

    Raises:
        InputError: There is an activation for a model that isn't our own CLIP.
        CheckpointError: The model is of a family that isn't supported, its library isn't
            installed, or its files can't be read.
        Float16RangeError: The image tower's activations are too large for float16.
    """
    family, acceleration = recognise(located), acceleration or Acceleration()
    if family.library == "clip_engine":
        checkpoint = read_clip(located, activation)
        clip = ClipDualEncoder(
            checkpoint.build(),
            tokenizer=Tokenizer(),
            preprocessing=checkpoint.preprocessing,
            device=device,
            precision=precision or default_precision(device, checkpoint.state.values()),
            acceleration=acceleration,
        )
        return LoadedModel(clip, family, checkpoint.digest(), checkpoint.format)
    if activation is not None:
        raise InputError(
            f"{located.name!r} is a {family.name} model, whose config specifies the activation; "
            f"don't set it to {activation!r}."
        )
    if family.library == "open_clip":
        file_format = "OpenCLIP"
        other = load_open_clip(
            located.path,
            architecture=located.architecture,
            overrides=located.overrides,
            companions=located.companions,
            device=device,
            precision=precision,
            acceleration=acceleration,
        )
    else:
        file_format = "Hugging Face transformers"
        other = load_transformers(
            located.path, device=device, precision=precision, acceleration=acceleration
        )
    return LoadedModel(other, family, digest_of(other.files, other.settings), file_format)


def read_clip(located: LocatedModel, activation: Activation | None = None) -> Checkpoint:
    """The checkpoint of a model of our own CLIP.

    Raises:
        CheckpointError: As for `clip_engine.formats.read_checkpoint`.
    """
    return read_checkpoint(located.path, activation, tag_config(located))
