"""Trains the demo model: CLIP's contrastive loss on drawn pictures.

Axes: B pictures, L texts, T tokens, R pixels a side, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clip_engine.demo.world.captions import TEMPLATES, label
from clip_engine.demo.world.scenes import AXES, VALUES
from clip_engine.images.normalisation import OPENAI_NORMALISATION
from clip_engine.model import CLIP
from clip_engine.prompts import fill
from clip_engine.tokenizer import Tokenizer
from demo_model.dataset import FULL_CAPTIONS, PARTIAL_CAPTIONS, TOKENS, WRONG_CAPTIONS, Dataset
from demo_model.losses import contrastive_loss, label_loss, truth

MAX_LOGIT_SCALE = math.log(100.0)  # section 2.5 of the CLIP paper
MAX_GRADIENT_NORM = 1.0
BETAS = (0.9, 0.98)
FINAL_RATE_SHARE = 0.01
SHIFT_PIXELS = 2


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: Batches.
        batch_size: B.
        peak_rate: Learning rate after the warm-up; it then falls along half a cosine.
        warmup_steps: Batches of linear rise.
        weight_decay: Of AdamW, on matrices only.
    """

    steps: int
    batch_size: int = 256
    peak_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        falling = (1 + math.cos(math.pi * done)) / 2
        return self.peak_rate * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * falling)


@dataclass(frozen=True)
class StepLosses:
    """Losses of one batch: of the captions, and of the one-word labels."""

    captions: float
    labels: float


class Trainer:
    """Takes training steps on a model, in place.

    Args:
        model: Freshly initialised; it is left in training mode.
        data: Pictures and captions.
        schedule: How long and how fast.
        seed: Of the batches, the choice of captions and the augmentation.
    """

    def __init__(self, model: CLIP, data: Dataset, schedule: Schedule, seed: int) -> None:
        self.model = model.train().to(memory_format=torch.channels_last)
        self.data = data
        self.schedule = schedule
        self._dice = torch.Generator().manual_seed(seed)
        self._batches = self._endless_batches()
        self._optimizer = _optimizer(model, schedule.weight_decay)
        # The small convolutions run three times faster compiled.
        self._image_tower = torch.compile(model.visual)
        self._axis_sizes = [len(VALUES[axis]) for axis in AXES]
        self._label_tokens = _label_tokens(Tokenizer())

    def step(self, number: int) -> StepLosses:
        """Train on the next batch.

        Args:
            number: Steps taken before.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(number)
        rows = next(self._batches)
        caption_loss, one_word_loss = self._losses(rows)
        self._optimizer.zero_grad(set_to_none=True)
        (caption_loss + one_word_loss).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self._optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        return StepLosses(float(caption_loss.detach()), float(one_word_loss.detach()))

    def _losses(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        scenes = self.data.scenes[rows]
        tokens, meanings = self._captions(rows)  # [L, T], [L, A]
        template = int(torch.randint(len(TEMPLATES), (1,), generator=self._dice))
        with torch.autocast("cpu", torch.bfloat16):
            images = self._image_tower(self._augmented(rows))
            texts = self.model.encode_text(torch.cat([tokens, self._label_tokens[template]]))
        images = nn.functional.normalize(images.float(), dim=-1)  # [B, D]
        texts = nn.functional.normalize(texts.float(), dim=-1)  # [L + labels, D]
        logits = self.model.logit_scale.exp() * images @ texts.T  # [B, L + labels]
        of_captions, of_labels = logits[:, : len(tokens)], logits[:, len(tokens) :]
        return (
            contrastive_loss(of_captions, truth(scenes, meanings), own_captions=2),
            label_loss(of_labels, scenes, self._axis_sizes),
        )

    def _captions(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A full, a partial and a wrong caption a picture: caption c of b in row c * B + b."""
        columns, start = [], 0
        for choices in (FULL_CAPTIONS, PARTIAL_CAPTIONS, WRONG_CAPTIONS):
            columns.append(start + torch.randint(choices, (len(rows),), generator=self._dice))
            start += choices
        tokens = torch.cat([self.data.tokens[rows, column] for column in columns])
        return tokens.long(), torch.cat([self.data.meanings[rows, column] for column in columns])

    def _augmented(self, rows: Tensor) -> Tensor:
        """Normalised pixels [B, 3, R, R], shifted, and changed in brightness, tint and contrast."""
        pixels = self.data.pixels[rows].float() / 255
        across, down = torch.randint(-SHIFT_PIXELS, SHIFT_PIXELS + 1, (2,), generator=self._dice)
        pixels = pixels.roll((int(down), int(across)), (2, 3))
        contrast = 1 + 0.1 * self._uniform(len(rows), 1) + 0.03 * self._uniform(len(rows), 3)
        pixels = (pixels * contrast + 0.05 * self._uniform(len(rows), 1)).clamp(0, 1)
        mean, std = map(_channels, (OPENAI_NORMALISATION.mean, OPENAI_NORMALISATION.std))
        normalised = (pixels - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last)

    def _uniform(self, batch: int, channels: int) -> Tensor:
        """In [-1, 1), shape [B, channels, 1, 1]."""
        return torch.rand(batch, channels, 1, 1, generator=self._dice) * 2 - 1

    def _endless_batches(self) -> Iterator[Tensor]:
        """Rows of the data, [B], shuffled anew each epoch; what is left of an epoch is dropped."""
        size = self.schedule.batch_size
        while True:
            order = torch.randperm(len(self.data.pixels), generator=self._dice)
            yield from torch.split(order[: len(order) // size * size], size)


def _channels(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _optimizer(model: CLIP, weight_decay: float) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def _label_tokens(tokenizer: Tokenizer) -> list[Tensor]:
    """For each template the one-word labels of all axes, [37, T]."""
    labels = [label({axis: value}) for axis in AXES for value in VALUES[axis]]
    filled = [[fill(template, text) for text in labels] for template in TEMPLATES]
    return [tokenizer.tokenize(texts, context_length=TOKENS) for texts in filled]
