"""Small models of open_clip's families, with random weights, in folders as open_clip saves them.

    saved = save_family("siglip2", tmp_path)

writes `open_clip_config.json`, `open_clip_model.safetensors` and the tokenizer's files, and keeps
the model and the tokenizer that open_clip itself makes of them, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import open_clip
import support.tiny_timm  # noqa: F401  # registers the small towers
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from support.open_clip_configs import FAMILIES, Family, real_xlm_roberta
from support.open_clip_folders import NoTokenizer
from support.oracles import fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class SavedModel:
    """A folder, and what open_clip itself makes of it.

    Attributes:
        path: The folder.
        model: open_clip's.
        tokenizer: open_clip's.
        family: What it is.
        companions: Folders of other repositories that its config names, if they aren't in `path`.
    """

    path: Path
    model: Any
    tokenizer: Any
    family: Family
    companions: dict[str, Path]

    def preprocessed(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Resized images, uint8 `[3, R, R]` each, as the model's input."""
        config = self.model.visual.preprocess_cfg
        mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
        return (torch.stack(list(pixels)).float() / 255 - mean) / std


def registered(name: str, like: str) -> Family:
    """The real architecture of this name, with the preprocessing and tokenizer of a small one."""
    small, config = FAMILIES[like], open_clip.get_model_config(name)
    text_tower = real_xlm_roberta if small.text_tower else None
    return Family(
        config.pop("vision_cfg"),
        config.pop("text_cfg"),
        config,
        small.preprocessing,
        small.tokenizer,
        text_tower,
    )


def save_family(
    name: str | Family, folder: Path, *, apart: Path | None = None, seed: int = 7
) -> SavedModel:
    """Write a model of a family with random weights.

    Args:
        name: A key of `FAMILIES`, or a family.
        folder: For the config, the weights and the tokenizer's files.
        apart: For the tokenizer's files and the text tower's config, if they are to be elsewhere,
            as for models whose config names other repositories of the hub.
        seed: Of the weights.
    """
    family = FAMILIES[name] if isinstance(name, str) else name
    others = folder if apart is None else apart
    others.mkdir(parents=True, exist_ok=True)
    if family.text_tower is not None:
        family.text_tower(others)
    model = _model(family, others)
    fill(model, seed)
    _settle_batch_norms(model.visual)
    size = model.visual.image_size
    set_model_preprocess_cfg(model, {"size": size} | family.preprocessing)
    save_for_hf(model, NoTokenizer(), family.config, folder, safe_serialization=True)  # type: ignore[arg-type]
    if family.tokenizer is not None:
        family.tokenizer(others)
    return SavedModel(
        path=folder,
        model=model,
        tokenizer=their_tokenizer(family, others),
        family=family,
        companions=_companions(family, apart),
    )


@torch.no_grad()
def _settle_batch_norms(tower: Any) -> None:
    """Set statistics to those of activations, as training does; else these grow with the depth."""
    norms = [module for module in tower.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        generator = torch.Generator().manual_seed(3)
        tower.train()(torch.randn(4, 3, *tower.image_size, generator=generator))
        tower.eval()


def _companions(family: Family, apart: Path | None) -> dict[str, Path]:
    named = [family.text.get("hf_tokenizer_name"), family.text.get("hf_model_name")]
    return {} if apart is None else {name: apart for name in named if name is not None}


def _model(family: Family, others: Path) -> Any:
    config = family.config
    custom = config.pop("custom_text", False)
    if "hf_model_name" in config["text_cfg"]:
        custom = True
        config["text_cfg"] |= {"hf_model_name": str(others), "hf_model_pretrained": False}
    if "multimodal_cfg" in config:
        return open_clip.CoCa(**config)
    return open_clip.CustomTextCLIP(**config) if custom else open_clip.CLIP(**config)


def their_tokenizer(family: Family, folder: Path) -> Any:
    """open_clip's own, of the files in a folder."""
    text = family.text
    length = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    if family.tokenizer is None:
        return open_clip.SimpleTokenizer(context_length=length)
    return open_clip.tokenizer.HFTokenizer(
        str(folder),
        context_length=length,
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}),
    )
