"""Train the demo model from nothing: draw its images, write its captions, fit both towers.

    python scripts/train_demo_model.py --out clip_engine/demo/demo.pt

Needs torch and a C++ compiler (the image tower is compiled), about 5 GiB of memory, and no network.
The checkpoint is written whenever the held-out accuracy has risen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from demo_model.dataset import Dataset, training_set
from demo_model.export import save_checkpoint
from demo_model.measures import encode_scenes, guess_scenes, sample_scenes, scene_indices
from demo_model.trainer import Schedule, StepLosses, Trainer

from clip_engine.demo.world.scenes import AXES, all_scenes
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.images.transform import ImageTransform
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.preprocess import Preprocessor
from clip_engine.tokenizer import Tokenizer

CONFIG = CLIPConfig(
    embed_dim=64,
    image_resolution=96,
    vision_layers=(1, 2, 2, 1),
    vision_width=10,
    vision_patch_size=None,
    transformer_width=64,
    transformer_layers=2,
)
LOG_EVERY = 50
EVALUATED_PICTURES = 512
EVALUATION_SEED = 7


def main() -> None:
    """Draw, train, and keep the best checkpoint."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.perf_counter()
    data = _data(options)
    _log(started, f"{len(data.pixels)} images drawn")
    model = CLIP(CONFIG)
    trainer = Trainer(model, data, Schedule(options.steps), options.seed)
    best = 0.0
    for number in range(options.steps):
        losses = trainer.step(number)
        done = number + 1
        if done % LOG_EVERY == 0:
            _log(started, _progress(done, losses, model))
        if done % options.evaluate_every == 0 or done == options.steps:
            accuracy = _evaluate(model, started)
            if accuracy >= best:
                best = accuracy
                save_checkpoint(model, options.out)
    _log(started, f"best held-out top-1 {best:.4f}, written to {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--steps", type=int, default=6000, help="batches of 256")
    parser.add_argument("--copies", type=int, default=3, help="images of each training scene")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluate-every", type=int, default=500, help="steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="file that keeps the drawn images")
    return parser.parse_args()


def _data(options: argparse.Namespace) -> Dataset:
    if options.cache and options.cache.exists():
        return Dataset(**torch.load(options.cache))
    data = training_set(options.copies, CONFIG.image_resolution, options.seed, options.threads)
    if options.cache:
        torch.save(vars(data), options.cache)
    return data


def _evaluate(model: CLIP, started: float) -> float:
    """Held-out top-1 among all scenes; also logs how often each attribute is right."""
    engine = Engine(
        ClipDualEncoder(model.eval(), tokenizer=Tokenizer()),
        identity=ModelIdentity("demo", "in training"),
        preprocessor=Preprocessor(ImageTransform(CONFIG.image_resolution)),
    )
    scenes = sample_scenes(EVALUATED_PICTURES, EVALUATION_SEED, held_out=True)
    guessed = guess_scenes(engine, encode_scenes(engine, scenes), list(all_scenes()))
    model.train()
    right = guessed == scene_indices(scenes)  # [B, A]
    accuracy = right.all(dim=1).float().mean().item()
    shares = zip(AXES, right.float().mean(dim=0).tolist(), strict=True)
    _log(started, f"held-out top-1 {accuracy:.4f}  " + "  ".join(f"{a} {s:.3f}" for a, s in shares))
    return accuracy


def _progress(done: int, losses: StepLosses, model: CLIP) -> str:
    scale = model.logit_scale.exp().item()
    values = f"captions {losses.captions:.3f}  labels {losses.labels:.3f}  scale {scale:.1f}"
    return f"step {done}  {values}"


def _log(started: float, message: str) -> None:
    print(f"{time.perf_counter() - started:7.0f} s  {message}", flush=True)


if __name__ == "__main__":
    main()
