"""Batch sizes: which there are, and the largest for each model and device."""

from __future__ import annotations

import dataclasses

import pytest
from support.tiny_clip import TINY_RESNET, TINY_VIT, tokenizer

from clip_engine.families.clip import ClipDualEncoder
from clip_engine.inference.buckets import GPU_BATCH, buckets_up_to, usual_batch
from clip_engine.loader import load_engine
from clip_engine.model import CLIP


@pytest.mark.parametrize(
    ("largest", "buckets"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (8, (1, 2, 3, 4, 6, 8)),
        (12, (1, 2, 3, 4, 6, 8, 12)),
        (32, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)),
        (33, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 33)),
    ],
)
def test_buckets_are_powers_of_two_what_lies_half_way_between_and_the_largest(
    largest: int, buckets: tuple[int, ...]
) -> None:
    assert buckets_up_to(largest) == buckets


# patches of 32, 16 and 14 pixels, and ResNets, at 224 pixels unless it is said
@pytest.mark.parametrize(
    ("patch", "resolution", "largest"),
    [(32, 224, 8), (16, 224, 2), (14, 224, 2), (14, 336, 2), (None, 224, 2), (None, 448, 2)],
)
def test_on_a_cpu_a_batch_is_as_large_as_makes_it_faster_and_on_a_gpu_large(
    patch: int | None, resolution: int, largest: int
) -> None:
    base = TINY_VIT if patch else TINY_RESNET
    config = dataclasses.replace(base, vision_patch_size=patch, image_resolution=resolution)
    tokens = ClipDualEncoder(CLIP(config), tokenizer=tokenizer()).image_tokens
    assert usual_batch(tokens, "cpu") == largest
    assert usual_batch(tokens, "cuda") == GPU_BATCH


def test_an_engine_is_loaded_with_the_batches_that_suit_its_model_or_those_given() -> None:
    assert load_engine("demo").buckets == buckets_up_to(8)
    assert load_engine("demo", buckets=(1, 5)).buckets == (1, 5)
