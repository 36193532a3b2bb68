"""What files and weights are that hold no CLIP of ours, and what to give instead."""

from __future__ import annotations

from collections.abc import Collection

TOWERS = "give a model that has both an image tower and a text tower"
CONFIG = "put the model's open_clip_config.json beside it"
CLIP = "give a CLIP model"
# Beginnings of weights' names that others have and CLIP doesn't, and what they show.
WEIGHTS = (
    (("logit_bias",), "a SigLIP model in open_clip's layout", CONFIG),
    (("visual.trunk.", "text.transformer."), "a model of another family of open_clip", CONFIG),
    (("image_encoder.model.",), "a MobileCLIP in Apple's layout", CONFIG),
    (("model.diffusion_model.", "down_blocks.", "first_stage_model."), "a diffusion model", CLIP),
    (("Qformer.", "qformer.", "text_decoder.", "visual_encoder."), "a BLIP model", CLIP),
    (("base_model.model.",), "a LoRA adapter", "merge it into its model first"),
    (("bert.", "roberta.", "embeddings.", "encoder.", "transformer.h.", "model.embed_tokens."),
     "a text model", TOWERS),
    (("patch_embed.", "blocks.0.", "stages.0.", "layer1.0."), "an image model", TOWERS),
)  # fmt: skip
# Files of a folder without weights for us, and what they show.
FOLDERS = {
    "model_index.json": f"a diffusion pipeline; {CLIP}",
    "adapter_config.json": "a LoRA adapter; merge it into its model first",
    "modules.json": "a model of sentence-transformers; give the folder in it that has config.json",
}
SUFFIXES = {
    ".gguf": "a GGUF file of llama.cpp; give the model as open_clip or transformers saved it",
    ".onnx": "an ONNX file; give the model as open_clip or transformers saved it",
    ".npz": "an archive of NumPy; give the model as open_clip or transformers saved it",
    ".h5": "a file of Keras; give the model as open_clip or transformers saved it",
    ".msgpack": "a file of Flax; give the model as open_clip or transformers saved it",
}


def foreign_weights(names: Collection[str]) -> str | None:
    """What weights are, and what to do; None if their names don't show it.

    >>> foreign_weights(["patch_embed.proj.weight"])
    'an image model; give a model that has both an image tower and a text tower'
    """
    for beginnings, kind, remedy in WEIGHTS:
        if any(name.startswith(beginnings) for name in names):
            return f"{kind}; {remedy}"
    return None


def foreign_file(name: str) -> str | None:
    """What a file is, by its suffix, and what to do; None for others than these."""
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def foreign_folder(names: Collection[str]) -> str | None:
    """What a folder is, by the names of its files, and what to do; None if they don't show it."""
    by_file = (kind for file, kind in FOLDERS.items() if file in names)
    by_suffix = (kind for name in sorted(names) if (kind := foreign_file(name)))
    return next(by_file, None) or next(by_suffix, None)
