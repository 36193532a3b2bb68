"""Models that people run, with their sizes, costs, languages and licences: a curated table.

`scripts/check_known_models.py` computes its figures from open_clip's configs. Licences were read at
`licence_source` in November 2026; None is one that could not be verified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from clip_engine.weights.hub import Repository
from clip_engine.weights.layouts import first_weights, tag_weights


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the table.

    Attributes:
        name: To give as the model's name.
        family: Such as `SigLIP 2`.
        architecture: open_clip's name of it.
        languages: Of labels, as its authors trained it.
        parameters_m: Parameters of both towers, in millions.
        resolution: Side of the square input, in pixels.
        image_gflops: Floating-point operations of the image tower for one image, in billions; a
            multiplication and an addition count as two.
        imagenet: Zero-shot top-1 accuracy on ImageNet as published, in percent.
        imagenet_source: Where it is published.
        licence: Of the weights.
        licence_source: Where it says so.
        repository: Its repository on the Hugging Face hub; None for OpenAI's nine.
        weights: The file of weights that open_clip's table names there.
    """

    name: str
    family: str
    architecture: str
    languages: Literal["English", "multilingual"]
    parameters_m: float
    resolution: int
    image_gflops: float
    imagenet: float | None
    imagenet_source: str | None
    licence: str | None
    licence_source: str | None
    repository: str | None
    weights: str | None

    @property
    def relative_cost(self) -> float:
        """Operations per image, as a multiple of those of ViT-B/32."""
        return self.image_gflops / VIT_B_32_GFLOPS

    def cached(self) -> Path | None:
        """The folder of a hub repository's files, if all of them are in the hub's cache."""
        if self.repository is None or self.weights is None or find_spec("huggingface_hub") is None:
            return None
        candidates = tag_weights(self.weights)
        return Repository(
            self.repository, None, partial(first_weights, candidates=candidates)
        ).cached()


VIT_B_32_GFLOPS = 8.8  # image tower of ViT-B/32, the default model


def known_models() -> list[KnownModel]:
    """All models of the table: OpenAI's nine first, then by family."""
    table = resources.files("clip_engine").joinpath("data/known_models.json")
    return [KnownModel(**row) for row in json.loads(table.read_text(encoding="utf-8"))]
