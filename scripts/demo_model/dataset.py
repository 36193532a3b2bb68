"""The demo model's training set: pictures drawn and captions written by several processes.

Axes: N pictures, C captions a picture, T tokens, R pixels a side, A the six attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clip_engine.demo.world.captions import ONE, caption, random_part
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import AXES, PLACEMENTS, VALUES, Scene, all_scenes
from clip_engine.tokenizer import Tokenizer

FULL_CAPTIONS = 2
PARTIAL_CAPTIONS = 4
WRONG_CAPTIONS = 2
TOKENS = 32  # no caption is longer; the model's context stays 77
UNTOLD = -1
ONE_INDEX = len(PLACEMENTS)
CHUNK = 256


@dataclass(frozen=True)
class Dataset:
    """Pictures, what they show, and captions with what these tell.

    Attributes:
        pixels: uint8 `[N, 3, R, R]`.
        scenes: int64 `[N, A]`, indices of the attributes' values.
        tokens: int32 `[N, C, T]`: full captions, then partial ones, then wrong ones.
        meanings: int64 `[N, C, A]`, the values that each caption tells, `UNTOLD` where it doesn't.
    """

    pixels: Tensor
    scenes: Tensor
    tokens: Tensor
    meanings: Tensor


def training_set(copies: int, resolution: int, seed: int, processes: int) -> Dataset:
    """Draw every training scene several times, in a shuffled order.

    Args:
        copies: Pictures a scene.
        resolution: R, pixels a side.
        seed: Decides everything random.
        processes: Number of processes that draw.
    """
    scenes = [scene for scene in all_scenes() if not scene.is_held_out] * copies
    order = np.random.default_rng(seed).permutation(len(scenes))
    jobs = [
        ([scenes[i] for i in order[start : start + CHUNK]], resolution, seed, start)
        for start in range(0, len(scenes), CHUNK)
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return _joined(pool.map(_chunk, jobs), len(scenes), resolution)


def _joined(
    chunks: Iterator[tuple[NDArray[np.generic], ...]], total: int, resolution: int
) -> Dataset:
    captions = FULL_CAPTIONS + PARTIAL_CAPTIONS + WRONG_CAPTIONS
    data = Dataset(
        torch.empty(total, 3, resolution, resolution, dtype=torch.uint8),
        torch.empty(total, len(AXES), dtype=torch.int64),
        torch.empty(total, captions, TOKENS, dtype=torch.int32),
        torch.empty(total, captions, len(AXES), dtype=torch.int64),
    )
    done = 0
    for pixels, scenes, tokens, meanings in chunks:
        rows = slice(done, done + len(pixels))
        data.pixels[rows] = torch.from_numpy(pixels)
        data.scenes[rows] = torch.from_numpy(scenes)
        data.tokens[rows] = torch.from_numpy(tokens)
        data.meanings[rows] = torch.from_numpy(meanings)
        done += len(pixels)
        if (done // CHUNK) % 32 == 0:
            print(f"drawn {done} of {total} pictures", flush=True)
    return data


def _chunk(job: tuple[list[Scene], int, int, int]) -> tuple[NDArray[np.generic], ...]:
    scenes, resolution, seed, start = job
    rows = [_example(scene, resolution, (seed, start + i)) for i, scene in enumerate(scenes)]
    pixels, tokens, meanings = (np.stack(column) for column in zip(*rows, strict=True))
    return pixels, np.array([scene.indices for scene in scenes]), tokens, meanings


def _example(
    scene: Scene, resolution: int, seed: tuple[int, int]
) -> tuple[NDArray[np.generic], NDArray[np.generic], NDArray[np.generic]]:
    """Pixels [3, R, R], tokens [C, T] and meanings [C, A] of one picture."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(resolution, 2 * resolution))
    picture = draw_scene(scene, (side, side), int(rng.integers(2**31)))
    picture = picture.resize((resolution, resolution), Image.Resampling.BICUBIC)
    meant = [asdict(scene)] * FULL_CAPTIONS
    meant += [random_part(scene, rng) for _ in range(PARTIAL_CAPTIONS)]
    meant += [asdict(_wrong(scene, rng)) for _ in range(WRONG_CAPTIONS)]
    several = scene.count > 1
    texts = [caption(meaning, rng, plural=several and rng.random() < 0.5) for meaning in meant]
    tokens = _tokenizer().tokenize(texts, context_length=TOKENS).numpy().astype(np.int32)
    meanings = np.array([meaning_indices(meaning) for meaning in meant])
    return np.asarray(picture).transpose(2, 0, 1), tokens, meanings  # HWC -> CHW


def _wrong(scene: Scene, rng: Generator) -> Scene:
    """A training scene that differs in one attribute, or in two."""
    while True:
        other = scene
        for axis in rng.choice(AXES, int(rng.integers(1, 3)), replace=False):
            other = replace(other, **{axis: str(rng.choice(VALUES[axis]))})
        if other != scene and not other.is_held_out:
            return other


def meaning_indices(meaning: dict[str, str]) -> list[int]:
    """Indices of the values that a meaning tells, `UNTOLD` for the others: A of them."""
    return [_value_index(axis, meaning[axis]) if axis in meaning else UNTOLD for axis in AXES]


def _value_index(axis: str, value: str) -> int:
    return ONE_INDEX if value == ONE else VALUES[axis].index(value)


@cache
def _tokenizer() -> Tokenizer:
    """One a process: building it takes a tenth of a second."""
    return Tokenizer()
