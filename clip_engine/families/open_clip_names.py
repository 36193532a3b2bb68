"""What people call the models of open_clip, by their configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Parts of names, and what they show. The first that is found counts.
TEXT_TOWERS = {"nllb": "NLLB-CLIP", "xlm-roberta": "XLM-RoBERTa CLIP", "roberta": "RoBERTa CLIP"}
TEXT_TOWERS |= {"mt5": "mT5 CLIP"}
IMAGE_TOWERS = {
    "eva": "EVA-CLIP",
    "mci": "MobileCLIP",
    "convnext": "ConvNeXt CLIP",
    "vitamin": "ViTamin",
    "vit_pe_core": "PE-Core",
    "swin": "Swin CLIP",
}
TOKENIZERS = {"xlm-v": "MetaCLIP 2", "mt5": "MetaCLIP 2", "bert": "CLIPA"}
GEMMA_VOCABULARY = 256_000  # of SigLIP 2's tokenizer


def open_clip_name(model: Mapping[str, Any]) -> str:
    """The family of a model by its `model_cfg`, which has `vision_cfg` and `text_cfg`."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    tower = str(vision.get("timm_model_name") or "")
    if "multimodal_cfg" in model:
        return "CoCa"
    if found := _first(TEXT_TOWERS, text.get("hf_model_name")):
        return found
    if "siglip" in tower:
        return "SigLIP 2" if text.get("vocab_size") == GEMMA_VOCABULARY else "SigLIP"
    if found := _first(IMAGE_TOWERS, tower):
        return found
    if found := _first(TOKENIZERS, text.get("hf_tokenizer_name")):
        return found
    return f"{tower} CLIP" if tower else "CLIP variant"


def _first(parts: Mapping[str, str], name: object) -> str | None:
    return next((family for part, family in parts.items() if part in str(name or "")), None)
