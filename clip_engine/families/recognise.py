"""Recognises a model's family, and the library that loads it, before its weights are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from clip_engine.errors import CheckpointError
from clip_engine.families.open_clip_names import open_clip_name
from clip_engine.families.transformers_names import refusal, transformers_name
from clip_engine.formats import openai
from clip_engine.formats.checkpoint import VOCABULARY
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.open_clip_config import OpenCLIPConfig
from clip_engine.formats.weights_file import read_weights
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG, LAYOUTS, OPEN_CLIP_CONFIG
from clip_engine.weights.located import LocatedModel
from clip_engine.weights.open_clip_tags import architecture_config

Library: TypeAlias = Literal["clip_engine", "open_clip", "transformers"]

EXTRA = "clip-worker[models]"


@dataclass(frozen=True, slots=True)
class Family:
    """What a model is, and what loads it.

    Attributes:
        name: Such as `CLIP`, `SigLIP 2` or `CoCa`.
        library: `clip_engine` for our own CLIP.
    """

    name: str
    library: Library


CLIP = Family("CLIP", "clip_engine")


def recognise(located: LocatedModel) -> Family:
    """The family of a model.

    Raises:
        CheckpointError: No library loads such a model, or the one that does isn't installed; or
            there are no weights, or the config can't be read.
    """
    family = _recognised(located)
    if family.library != "clip_engine" and find_spec(family.library) is None:
        raise CheckpointError(f"{located.name!r} is a {family.name} model; install {EXTRA}.")
    return family


def tag_config(located: LocatedModel) -> Mapping[str, Any] | None:
    """The content of open_clip's config of a tag; None for a model that is no tag."""
    if located.architecture is None:
        return None
    preprocessing = dict(located.overrides)
    quick_gelu = preprocessing.pop("quick_gelu", None)
    model = dict(architecture_config(located.architecture))
    if quick_gelu:
        model["quick_gelu"] = True
    return {"model_cfg": model, "preprocess_cfg": preprocessing}


def _recognised(located: LocatedModel) -> Family:
    if (tag := tag_config(located)) is not None:
        return _of_open_clip(tag, located.architecture or "")
    weights = find_weights(located.path)
    config = _config_of(weights)
    if config is None:
        return CLIP  # or else its reader refuses it
    content = _read(config)
    if config.name == OPEN_CLIP_CONFIG:
        family = _of_open_clip(content, str(config))
        # A file of OpenAI's is itself, whatever lies beside it.
        by_itself = located.path.is_file() and weights.name not in dict(LAYOUTS)[OPEN_CLIP_CONFIG]
        return CLIP if by_itself and openai.recognises(read_weights(weights)) else family
    return _of_transformers(content, str(located.path))


def _config_of(weights: Path) -> Path | None:
    """The config beside weights that describes them; None for bare weights."""
    for config, names in LAYOUTS:
        if weights.name in names and (weights.parent / config).is_file():
            return weights.parent / config
    beside = weights.parent / OPEN_CLIP_CONFIG
    return (
        beside
        if beside.is_file() and weights.name not in dict(LAYOUTS)[HUGGING_FACE_CONFIG]
        else None
    )


def _read(config: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(config.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(config)!r} can't be read: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{str(config)!r} holds no JSON object; give the config that belongs to the weights."
        )
    return content


def _of_open_clip(content: Mapping[str, Any], source: str) -> Family:
    model = content.get("model_cfg")
    if not isinstance(model, dict) or not all(
        isinstance(model.get(tower), dict) for tower in ("vision_cfg", "text_cfg")
    ):
        raise CheckpointError(
            f"{source!r} doesn't describe a model of open_clip, because it has no image tower or "
            "no text tower; give the open_clip_config.json that belongs to the weights."
        )
    return CLIP if _is_our_clip(content) else Family(open_clip_name(model), "open_clip")


def _is_our_clip(content: Mapping[str, Any]) -> bool:
    try:
        text = OpenCLIPConfig.model_validate(content).model_cfg.text_cfg
    except ValidationError:
        return False
    return text.vocab_size == VOCABULARY or text.hf_tokenizer_name is None


def _of_transformers(content: Mapping[str, Any], source: str) -> Family:
    if content.get("model_type") == "clip":
        return CLIP
    if name := transformers_name(content):
        return Family(name, "transformers")
    raise CheckpointError(f"{source!r} {refusal(content)}.")
