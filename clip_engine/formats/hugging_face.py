"""Hugging Face's `CLIPModel`: names differ, q, k and v are separate, projections are transposed.

On the end mark: with an `eos_token_id` of 49407 transformers looks for that token; with 2, as in
configs from before transformers' pull request 24773, for the largest token number. With CLIP's
tokenizer both find the end mark, as `CLIP.encode_text` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from clip_engine.errors import CheckpointError
from clip_engine.formats.checkpoint import Checkpoint
from clip_engine.formats.config_file import read_config
from clip_engine.formats.hugging_face_config import HuggingFaceConfig, read_preprocessing
from clip_engine.formats.weights_file import WeightsFile
from clip_engine.model.state_dict_diff import name_problems
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG

# Their names to ours. A name that ends with a dot stands for a weight and a bias.
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
# Position indices, which older versions of transformers stored.
IGNORED_SUFFIX = ".position_ids"


def recognises(weights: WeightsFile) -> bool:
    """Whether names have the towers' prefixes, which are unique to this format."""
    return any(name.startswith(tuple(TOWERS)) for name in weights.state)


def interpret(path: Path, weights: WeightsFile) -> Checkpoint:
    """Convert the weights to OpenAI's layout, using the config in their folder.

    Raises:
        CheckpointError: There is no config, it describes an unsupported model, or weights are
            missing or unexpected; the message lists them.
    """
    config = weights.files[0].parent / HUGGING_FACE_CONFIG
    if not config.is_file():
        raise CheckpointError(
            f"{str(path)!r} has the weights of a Hugging Face model, but not its number of heads "
            f"and its activation; put the model's {HUGGING_FACE_CONFIG} beside it."
        )
    declared = read_config(config, HuggingFaceConfig)
    preprocessing, processor_files = read_preprocessing(config.parent)
    return Checkpoint(
        path=path,
        format=f"Hugging Face CLIPModel, {weights.container}",
        files=(*weights.files, *processor_files, config),
        state=_convert(path, weights.state, declared),
        traits=declared.traits(),
        preprocessing=preprocessing,
        sizes=declared.sizes(),
    )


def _convert(
    path: Path, state: dict[str, Tensor], declared: HuggingFaceConfig
) -> dict[str, Tensor]:
    renamed, joined = dict(_renamed(declared)), dict(_joined(declared))
    found = {name for name in state if not name.endswith(IGNORED_SUFFIX)}
    wanted = renamed.keys() | TRANSPOSED.keys() | {part for parts in joined for part in parts}
    if problems := name_problems(wanted - found, found - wanted):
        raise CheckpointError(
            f"{str(path)!r}: The weights don't match {HUGGING_FACE_CONFIG}: {problems}; give all "
            "of a model's weights with its own config file."
        )
    try:
        return {
            **{ours: state[theirs] for theirs, ours in renamed.items()},
            **{ours: state[theirs].t() for theirs, ours in TRANSPOSED.items()},
            **{ours: torch.cat([state[part] for part in parts]) for parts, ours in joined.items()},
        }
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} has weights with wrong shapes: {str(error).splitlines()[0]}."
        ) from error


def _renamed(declared: HuggingFaceConfig) -> Iterator[tuple[str, str]]:
    names = dict(OUTSIDE_LAYERS)
    for theirs, ours in _layers(declared):
        names |= {theirs + part: ours + IN_LAYER[part] for part in IN_LAYER}
    for theirs, ours in names.items():
        for kind in ("weight", "bias") if theirs.endswith(".") else ("",):
            yield theirs + kind, ours + kind


def _joined(declared: HuggingFaceConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    for theirs, ours in _layers(declared):
        for kind in ("weight", "bias"):
            yield tuple(theirs + part + kind for part in JOINED), f"{ours}attn.in_proj_{kind}"


def _layers(declared: HuggingFaceConfig) -> Iterator[tuple[str, str]]:
    """Their prefix and ours for every layer of both towers."""
    counts = (declared.text.num_hidden_layers, declared.vision.num_hidden_layers)
    for (theirs, ours), count in zip(TOWERS.items(), counts, strict=True):
        for index in range(count):
            yield f"{theirs}encoder.layers.{index}.", f"{ours}transformer.resblocks.{index}."
