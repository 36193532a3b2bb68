"""Hugging Face's `CLIPModel`: other names, queries, keys and values apart, projections transposed.

Where a text ends: `eos_token_id` 49407 makes transformers look for that token; 2, as in configs
older than transformers' pull request 24773, makes it take the largest token number. For texts of
CLIP's tokenizer both are the end mark, and so is what `CLIP.encode_text` takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.find_weights import HUGGING_FACE_CONFIG
from clip_engine.formats.hugging_face_config import HuggingFaceConfig, read_normalisation
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model.state_dict_diff import name_problems

# Theirs to ours. What ends with a dot stands for a weight and a bias.
OUTSIDE_LAYERS = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",  # their spelling
    "vision_model.post_layernorm.": "visual.ln_post.",
}
TRANSPOSED = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
TOWERS = {"text_model.": "", "vision_model.": "visual."}
IN_LAYER = {
    "self_attn.out_proj.": "attn.out_proj.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}
JOINED = ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj.")  # in OpenAI's order
# Older versions of transformers stored these counting buffers.
IGNORED_SUFFIX = ".position_ids"


def recognises(weights: WeightsFile) -> bool:
    """By the towers' prefixes, which no other format has."""
    return any(name.startswith(tuple(TOWERS)) for name in weights.state)


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Bring the weights into OpenAI's layout, by the config in their folder.

    Raises:
        CheckpointError: There is no config, it describes a model that can't be run here, or names
            are missing or left over; all are listed.
    """
    config = weights.files[0].parent / HUGGING_FACE_CONFIG
    if not config.is_file():
        raise CheckpointError(
            f"{str(path)!r} holds a Hugging Face model's weights, which don't tell its heads and "
            f"its activation; put the model's {HUGGING_FACE_CONFIG} beside them."
        )
    told = read_config(config, HuggingFaceConfig)
    normalisation, processor_files = read_normalisation(config.parent)
    return Checkpoint(
        path=path,
        format=f"Hugging Face CLIPModel, {weights.container}",
        files=(*weights.files, *processor_files, config),
        state=_convert(path, weights.state, told),
        traits=told.traits(),
        normalisation=normalisation,
        sizes=told.sizes(),
    )


def _convert(path: Path, state: dict[str, Tensor], told: HuggingFaceConfig) -> dict[str, Tensor]:
    renamed, joined = dict(_renamed(told)), dict(_joined(told))
    found = {name for name in state if not name.endswith(IGNORED_SUFFIX)}
    wanted = renamed.keys() | TRANSPOSED.keys() | {part for parts in joined for part in parts}
    if problems := name_problems(wanted - found, found - wanted):
        raise CheckpointError(
            f"{str(path)!r}: The weights don't make the CLIPModel that {HUGGING_FACE_CONFIG} "
            f"describes: {problems}; give a whole model and its own config."
        )
    try:
        return {
            **{ours: state[theirs] for theirs, ours in renamed.items()},
            **{ours: state[theirs].t() for theirs, ours in TRANSPOSED.items()},
            **{ours: torch.cat([state[part] for part in parts]) for parts, ours in joined.items()},
        }
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} has weights of wrong shapes: {str(error).splitlines()[0]}."
        ) from error


def _renamed(told: HuggingFaceConfig) -> Iterator[tuple[str, str]]:
    names = dict(OUTSIDE_LAYERS)
    for theirs, ours in _layers(told):
        names |= {theirs + part: ours + IN_LAYER[part] for part in IN_LAYER}
    for theirs, ours in names.items():
        for kind in ("weight", "bias") if theirs.endswith(".") else ("",):
            yield theirs + kind, ours + kind


def _joined(told: HuggingFaceConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    for theirs, ours in _layers(told):
        for kind in ("weight", "bias"):
            yield tuple(theirs + part + kind for part in JOINED), f"{ours}attn.in_proj_{kind}"


def _layers(told: HuggingFaceConfig) -> Iterator[tuple[str, str]]:
    """Their prefix and ours of every layer of both towers."""
    counts = (told.text.num_hidden_layers, told.vision.num_hidden_layers)
    for (theirs, ours), count in zip(TOWERS.items(), counts, strict=True):
        for index in range(count):
            yield f"{theirs}encoder.layers.{index}.", f"{ours}transformer.resblocks.{index}."
