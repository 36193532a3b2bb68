"""What each acceleration of the engine gains, from JPEG bytes to the five best labels.

python -m benchmarks.engine_ladder [--threads 1] [--labels 10] [--left-out] [--rungs open_clip ...]

ViT-B/32 with random weights, which cost what trained ones do. In every round each rung runs once,
one after the other, so that what else the machine does falls on all alike; a figure is the median
of the rounds, a ratio the median of the ratios within each round. The first rung is what a plain
Celery task does that calls open_clip: one image at a time, its labels with it.

On a busy machine read the CPU time, with `--threads 1`: it hardly changes when others want the same
cores. torch's own threads wait for each other by spinning, which counts as CPU time.
`--left-out` disables one acceleration at a time instead of adding them up.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import open_clip
import torch
from PIL import Image

from benchmarks.bench.pictures import LARGE, QUALITY, SMALL, Size, draw_picture
from clip_engine.acceleration import PLAIN, Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.images.transform import ImageTransform
from clip_engine.model import build_model
from clip_engine.model.config import StateDict
from clip_engine.precision import Precision
from clip_engine.preprocess import Mode, Preprocessor
from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_engine.tokenizer import Tokenizer

ORACLE = "ViT-B-32-quickgelu"
BATCH = 8
K = 5

Answer = Callable[[Sequence[bytes], Sequence[str]], object]


@dataclass(frozen=True)
class Rung:
    """One way to run the engine.

    Attributes:
        acceleration: Accelerations in use.
        precision: Of the image tower.
        mode: Of preprocessing.
        batch: Images a forward pass.
        replicas: Batches at the same time, with one torch thread each; 0 for one batch at a time
            with as many threads as torch is given.
        images: Part of the run's images that this rung is given; slow rungs get few.
    """

    acceleration: Acceleration
    precision: Precision = "float32"
    mode: Mode = "exact"
    batch: int = 1
    replicas: int = 0
    pictures: float = 1.0


def ladder() -> dict[str, Rung]:
    """The rungs from the bottom up; each adds to the one before it."""
    one = Rung(PLAIN, pictures=1 / 4)
    trimmed = replace(one, acceleration=replace(PLAIN, trimmed_text=True))
    shared = replace(trimmed, acceleration=replace(trimmed.acceleration, shared_prefixes=True))
    cached = replace(
        shared, acceleration=replace(shared.acceleration, cached_text=True), pictures=1
    )
    batch = replace(cached, batch=BATCH)
    patches = replace(batch, acceleration=replace(batch.acceleration, linear_patches=True))
    folded = replace(patches, acceleration=replace(patches.acceleration, folded_gelu=True))
    packed = replace(folded, acceleration=Acceleration())
    fast = replace(packed, mode="fast")
    replicas = replace(fast, replicas=cores())
    return {
        "plain model, one at a time": one,
        "+ trimmed text": trimmed,
        "+ shared prefixes": shared,
        "+ cached text": cached,
        f"+ batches of {BATCH}": batch,
        "+ linear patches": patches,
        "+ folded QuickGELU": folded,
        "+ prepacked linears": packed,
        "+ fast decoding": fast,
        "+ one thread a replica (default)": replicas,
        "+ bfloat16": replace(replicas, precision="bfloat16"),
    }


def left_out() -> dict[str, Rung]:
    """The default, and it without one acceleration at a time."""
    default = ladder()["+ one thread a replica (default)"]
    rungs = {"default": default}
    for option in ("linear_patches", "folded_gelu", "prepacked", "cached_text"):
        rungs[f"without {option}"] = replace(default, acceleration=Acceleration.without([option]))
    text = Acceleration.without(["cached_text", "shared_prefixes"])
    rungs["without cached_text and shared_prefixes"] = replace(default, acceleration=text)
    rungs["exact decoding"] = replace(default, mode="exact")
    rungs |= {f"batches of {size}": replace(default, batch=size) for size in (1, 4, 16)}
    return rungs | {"bfloat16": replace(default, precision="bfloat16")}


def main() -> None:
    """Print a table."""
    options = _options()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    oracle = open_clip.create_model(ORACLE).eval()
    contenders: dict[str, tuple[float, Answer]] = {}
    if not options.left_out:
        contenders["open_clip, one at a time"] = (1 / 8, open_clip_task(oracle))
    for name, rung in (left_out() if options.left_out else ladder()).items():
        contenders[name] = (rung.pictures, runner(rung, oracle.state_dict()))
    if options.rungs:
        contenders = {n: c for n, c in contenders.items() if any(r in n for r in options.rungs)}
    labels = [f"thing number {i}" for i in range(options.labels)]
    print(f"torch {torch.__version__}, {cores()} cores, {options.threads} threads,", end=" ")
    print(f"{len(labels)} labels,")
    print(f"{options.pictures} images a round, medians of {options.rounds} rounds")
    for size in (SMALL, LARGE):
        files = pictures(size, options.pictures)
        print(f"\n{size.name}, {statistics.mean(map(len, files)) / 1e3:.0f} kB an image\n")
        print_table(measure(contenders, files, labels, options.rounds))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=cores(), help="of torch, below replicas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--rungs", nargs="*", help="parts of the names of those to run")
    return parser.parse_args()


def pictures(size: Size, count: int) -> list[bytes]:
    """JPEG files as bytes."""
    files = []
    for seed in range(count):
        file = io.BytesIO()
        draw_picture(size, seed).save(file, "JPEG", quality=QUALITY)
        files.append(file.getvalue())
    return files


def open_clip_task(model: open_clip.CLIP) -> Answer:
    """OpenCLIP's own way, as its README shows it, for each image anew."""
    prepare = open_clip.image_transform(224, is_train=False)
    tokenize = open_clip.get_tokenizer(ORACLE)

    @torch.no_grad()
    def classify(file: bytes, labels: Sequence[str]) -> object:
        pixels = prepare(Image.open(io.BytesIO(file)))[None]
        image = model.encode_image(pixels, normalize=True)
        texts = model.encode_text(
            tokenize([DEFAULT_TEMPLATE.format(label) for label in labels]), normalize=True
        )
        return (100.0 * image @ texts.T).softmax(dim=-1).topk(min(K, len(labels)))

    return lambda files, labels: [classify(file, labels) for file in files]


def runner(rung: Rung, state: StateDict) -> Answer:
    """The engine as this rung runs it."""
    built = cache(lambda: engine_of(rung, state))

    def classify(files: Sequence[bytes], labels: Sequence[str]) -> object:
        engine = built()
        batches = [files[i : i + rung.batch] for i in range(0, len(files), rung.batch)]
        if not rung.replicas:
            return [classify_batch(engine, batch, labels) for batch in batches]
        with _one_torch_thread(), ThreadPoolExecutor(rung.replicas) as pool:
            return list(pool.map(lambda batch: classify_batch(engine, batch, labels), batches))

    return classify


def engine_of(rung: Rung, state: StateDict) -> Engine:
    """With weights of its own."""
    encoder = ClipDualEncoder(
        build_model(state),
        tokenizer=Tokenizer(),
        precision=rung.precision,
        acceleration=rung.acceleration,
    )
    return Engine(
        encoder,
        identity=ModelIdentity("random", ""),
        preprocessor=Preprocessor(ImageTransform(224), rung.mode),
        buckets=(rung.batch,),
        acceleration=rung.acceleration,
    )


def classify_batch(engine: Engine, files: Sequence[bytes], labels: Sequence[str]) -> object:
    """Each image with its labels, as the worker does it."""
    features = engine.encode_pixels([engine.prepare(file) for file in files])
    return [
        engine.classify_features(
            row[None], engine.labels.get(labels, (DEFAULT_TEMPLATE,)), labels, K
        )
        for row in features
    ]


@dataclass(frozen=True)
class Cost:
    """Seconds an image: on the clock, and of all cores."""

    wall_s: float
    cpu_s: float


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # counts for threads that start from now on, as the pool's
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(
    contenders: dict[str, tuple[float, Answer]],
    files: Sequence[bytes],
    labels: Sequence[str],
    rounds: int,
) -> dict[str, list[Cost]]:
    """What an image costs each contender in each round, after one that doesn't count."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, (part, answer) in contenders.items():
            few = files[: max(1, round(part * len(files)))]
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            answer(few, labels)
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            costs[name].append(Cost(wall_s / len(few), cpu_s / len(few)))
    return {name: counted[1:] for name, counted in costs.items()}


def print_table(costs: dict[str, list[Cost]]) -> None:
    """One row a contender, with its speed against the first one's."""
    first = next(iter(costs.values()))
    print("| rung | images/s | times the first | CPU ms an image | times the first |")
    print("|---|---|---|---|---|")
    for name, own in costs.items():
        wall_s = statistics.median(cost.wall_s for cost in own)
        cpu_s = statistics.median(cost.cpu_s for cost in own)
        pairs = list(zip(first, own, strict=True))
        faster = statistics.median(a.wall_s / b.wall_s for a, b in pairs)
        cheaper = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
        print(f"| {name} | {1 / wall_s:.1f} | {faster:.2f} | {cpu_s * 1e3:.1f} | {cheaper:.2f} |")


if __name__ == "__main__":
    main()
