"""Models that transformers saved as `DualEncoder`s: SigLIP, SigLIP 2 and MetaCLIP 2.

They are built by the library transformers, of the extra `models`, from the files of a folder; no
code in it is run. Axes: B images, N texts, T tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import TrainedWith
from clip_engine.errors import CheckpointError
from clip_engine.families.library_encoder import LibraryDualEncoder, Towers
from clip_engine.families.open_clip_tokenizer import RowTokenizer
from clip_engine.formats.find_weights import find_weights
from clip_engine.formats.hugging_face_config import read_preprocessing
from clip_engine.formats.weights_file import read_weights
from clip_engine.model.state_dict_diff import name_problems
from clip_engine.precision import Precision, default_precision
from clip_engine.weights.layouts import HUGGING_FACE_CONFIG, TOKENIZER_FILES, has_tokenizer


@dataclass(frozen=True)
class _Kind:
    """A `model_type`.

    Attributes:
        model: Name of the model's class in transformers.
        config: Name of its config's class.
        trained_with: The loss.
        causal: Whether a token attends only to those before it, so padding at the end changes
            nothing.
        clean: Applied to texts before they are tokenized. SigLIP's were in lower case, which
            SigLIP 2's tokenizer doesn't do by itself (arXiv:2502.14786, section 2.1).
    """

    model: str
    config: str
    trained_with: TrainedWith
    causal: bool
    clean: Callable[[str], str] = str


KINDS = {
    "siglip": _Kind("SiglipModel", "SiglipConfig", "sigmoid", causal=False, clean=str.lower),
    "metaclip_2": _Kind("MetaClip2Model", "MetaClip2Config", "softmax", causal=True),
}


class _Tower(nn.Module):
    """A tower and, if the model has one, its projection: inputs to features alone."""

    def __init__(self, tower: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection or nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.projection(self.tower(inputs).pooler_output)
        return features


def load_transformers(
    path: Path,
    *,
    device: torch.device,
    precision: Precision | None = "float32",
    acceleration: Acceleration | None = None,
) -> LibraryDualEncoder:
    """Load a model that transformers saved. Nothing is downloaded.

    Args:
        path: A folder with `config.json`, weights, tokenizer and the image processor's config, or
            the weights in it.
        device: Where both towers run.
        precision: Of the image tower's matrix products; None for the default.
        acceleration: Which accelerations are on, of which `trimmed_text` applies; None for all.

    Raises:
        CheckpointError: A file is missing or can't be read, or the weights don't fit the config.
    """
    weights = find_weights(path)
    folder = weights.parent
    preprocessing, processor_files = read_preprocessing(folder)
    if not processor_files:
        raise CheckpointError(
            f"{str(folder)!r} has no preprocessor_config.json, so it is unknown how images are "
            "prepared; download that file too."
        )
    read = read_weights(weights)
    with _named(folder, "model"):
        config, kind = _read_config(folder)
        model = _build(kind, config, read.state, folder)
    with _named(folder, "tokenizer"):
        tokenizer = _read_tokenizer(folder, config.text_config.max_position_embeddings, kind.clean)
    trimmed = kind.causal and (acceleration or Acceleration()).trimmed_text
    own = tuple(folder / name for name in TOKENIZER_FILES if (folder / name).is_file())
    return LibraryDualEncoder(
        _towers(model, kind, tokenizer.pad if trimmed and not tokenizer.pad_left else None),
        tokenizer=tokenizer,
        preprocessing=preprocessing,
        device=device,
        precision=precision or default_precision(device, read.state.values()),
        files=(*read.files, folder / HUGGING_FACE_CONFIG, *processor_files, *own),
    )


def _towers(model: Any, kind: _Kind, padding: int | None) -> Towers:
    vision = model.config.vision_config
    return Towers(
        image=_Tower(model.vision_model, getattr(model, "visual_projection", None)),
        text=_Tower(model.text_model, getattr(model, "text_projection", None)),
        resolution=vision.image_size,
        image_tokens=(vision.image_size // vision.patch_size) ** 2,
        logit_scale=float(model.logit_scale.exp()),
        logit_bias=float(getattr(model, "logit_bias", 0.0)),
        trained_with=kind.trained_with,
        padding=padding,
    )


def _read_config(folder: Path) -> tuple[Any, _Kind]:
    import transformers

    config = transformers.PreTrainedConfig.get_config_dict(folder, local_files_only=True)[0]
    kind = KINDS[config["model_type"]]
    return getattr(transformers, kind.config).from_dict(config), kind


def _build(kind: _Kind, config: Any, state: Mapping[str, Tensor], folder: Path) -> nn.Module:
    import transformers

    with _quiet():
        model, report = getattr(transformers, kind.model).from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are reported below
            output_loading_info=True,
        )
    shapes = [str(key[0]) for key in report["mismatched_keys"]]
    if problems := name_problems(report["missing_keys"], report["unexpected_keys"], shapes):
        raise CheckpointError(
            f"The weights in {str(folder)!r} don't fit {HUGGING_FACE_CONFIG}: {problems}; use the "
            "files of one model."
        )
    built: nn.Module = model.eval().requires_grad_(requires_grad=False)
    return built


def _read_tokenizer(folder: Path, length: int, clean: Callable[[str], str]) -> RowTokenizer:
    import transformers

    if not has_tokenizer([entry.name for entry in folder.iterdir()]):
        # transformers would make one without a vocabulary.
        raise CheckpointError(
            f"The tokenizer in {str(folder)!r} has no vocabulary; download tokenizer.json too."
        )
    hub: Any = transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )

    def encode(texts: Sequence[str]) -> list[list[int]]:
        # Padding or truncation would change the tokenizer's state under another thread.
        cleaned = [clean(text) for text in texts]
        encoded = hub(cleaned, padding=False, truncation=False, verbose=False)
        return list(encoded["input_ids"])

    encode(["first"])  # sets the state that later calls need
    return RowTokenizer(
        encode,
        marks=hub.num_special_tokens_to_add(),
        context_length=length,
        pad=int(hub.pad_token_id),
        pad_left=hub.padding_side == "left",
    )


@contextmanager
def _named(folder: Path, part: str) -> Iterator[None]:
    """Turn whatever transformers raises into one sentence.

    Raises:
        CheckpointError: Something was raised inside the block.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"The {part} in {str(folder)!r} can't be read ({reason}); download its files again, or "
            "update transformers."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bar and report: what is wrong is raised."""
    from transformers.utils import logging

    theirs: Any = logging  # without types
    level, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()
