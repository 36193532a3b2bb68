"""What a `config.json` describes: a model that transformers loads for us, or what it is instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GEMMA_VOCABULARY = 256_000  # of SigLIP 2's tokenizer
NAMES = {
    "siglip": "SigLIP",
    "metaclip_2": "MetaCLIP 2",
}
INSTEAD = "give a CLIP, SigLIP or MetaCLIP 2 model"
# By `model_type`: why it isn't loaded, and what to give.
REFUSED = {
    "siglip2": "is a NaFlex model of SigLIP 2, whose images differ in size; give one of fixed "
    "resolution, such as google/siglip2-base-patch16-224",
    "clip_vision_model": f"is CLIP's image tower alone; {INSTEAD} with both towers",
    "clip_text_model": f"is CLIP's text tower alone; {INSTEAD} with both towers",
    "siglip_vision_model": f"is SigLIP's image tower alone; {INSTEAD} with both towers",
    "siglip_text_model": f"is SigLIP's text tower alone; {INSTEAD} with both towers",
    "chinese_clip": "is a Chinese-CLIP model, which is not supported; give a SigLIP 2 or "
    "MetaCLIP 2 model, which understand Chinese too",
    "altclip": "is an AltCLIP model, which is not supported; give a SigLIP 2 or MetaCLIP 2 model, "
    "which understand many languages too",
    "blip": "is a BLIP model, which describes images or answers questions and has no towers that "
    f"are compared; {INSTEAD}",
    "blip-2": f"is a BLIP-2 model, which writes texts about images; {INSTEAD}",
    "clipseg": f"is a CLIPSeg model, which finds areas in an image; {INSTEAD}",
    "owlvit": f"is an OWL-ViT model, which finds objects in an image; {INSTEAD}",
    "owlv2": f"is an OWLv2 model, which finds objects in an image; {INSTEAD}",
}
IMAGES = ("image_size", "num_channels", "patch_size")
TEXTS = ("vocab_size", "text_config")


def transformers_name(config: Mapping[str, Any]) -> str | None:
    """The family of a model that transformers loads for us; None for all others."""
    kind = str(config.get("model_type"))
    text = config.get("text_config")
    vocabulary = text.get("vocab_size") if isinstance(text, dict) else None
    if kind == "siglip" and vocabulary == GEMMA_VOCABULARY:
        return "SigLIP 2"
    return NAMES.get(kind)


def refusal(config: Mapping[str, Any]) -> str:
    """What a model is that nobody loads, and what to give instead; a sentence without its subject.

    >>> refusal({"model_type": "bert", "vocab_size": 30522})
    'is a text model (bert) without an image tower; give a CLIP, SigLIP or MetaCLIP 2 model'
    """
    kind = config.get("model_type")
    if kind in REFUSED:
        return REFUSED[str(kind)]
    return _by_kind(str(kind), config) if kind else _by_others_words(config)


def _by_others_words(config: Mapping[str, Any]) -> str:
    """Of a config of another library."""
    if "_class_name" in config:
        return f"is a part of a diffusion pipeline ({config['_class_name']}); {INSTEAD}"
    if "architecture" in config:
        return (
            f"is timm's image model {config['architecture']!r} without a text tower; give a model "
            "of open_clip, whose folder has an open_clip_config.json"
        )
    return f"has a config.json without a model_type, so it is unknown what it is; {INSTEAD}"


def _by_kind(kind: str, config: Mapping[str, Any]) -> str:
    if any(str(name).endswith(("CausalLM", "ConditionalGeneration")) for name in _classes(config)):
        return f"is a model that writes texts ({kind}); {INSTEAD}"
    sees = any(name in config for name in (*IMAGES, "vision_config"))
    reads = any(name in config for name in TEXTS)
    if reads and not sees:
        return f"is a text model ({kind}) without an image tower; {INSTEAD}"
    if sees and not reads:
        return f"is an image model ({kind}) without a text tower; {INSTEAD}"
    return f"is a {kind} model of transformers, which is not supported; {INSTEAD}"


def _classes(config: Mapping[str, Any]) -> list[Any]:
    classes = config.get("architectures")
    return classes if isinstance(classes, list) else []
