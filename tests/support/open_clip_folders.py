"""Folders as OpenCLIP saves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from support.oracles import open_clip_model

from clip_engine.images.normalisation import OPENAI_NORMALISATION as OPENAI

if TYPE_CHECKING:
    from pathlib import Path

    from clip_engine.images.normalisation import RGB

SMALL: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 56, "layers": 2, "width": 160, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 3, "layers": 2},
}


class NoTokenizer:
    """Stands in for the tokenizer whose files OpenCLIP saves too; those can't be fetched here."""

    def save_pretrained(self, folder: Path) -> None:
        """Save nothing."""


def save_folder(
    oracle: Any,
    config: dict[str, Any],
    folder: Path,
    mean: RGB = OPENAI.mean,
    std: RGB = OPENAI.std,
    *,
    safe: bool = True,
) -> Path:
    """Write a folder as OpenCLIP does before it uploads it."""
    set_model_preprocess_cfg(oracle, {"mean": mean, "std": std})
    save_for_hf(oracle, NoTokenizer(), config, folder, safe_serialization=safe)  # type: ignore[arg-type]
    return folder


def small_oracle(*, quick_gelu: bool = False) -> Any:
    """OpenCLIP's model of the config `SMALL`."""
    return open_clip_model(SMALL | {"quick_gelu": quick_gelu}, seed=5)
