"""What it costs to encode labels that nobody has seen: text by text, and as a tree.

    python -W ignore -m benchmarks.new_labels

The text tower of ViT-B/32 with random weights, packed, one thread, the labels of `make bench` in
the default template. The two take turns, figures are medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.bench.labels import label_list
from benchmarks.bench.weights import VIT_B_32, make_weights
from clip_engine import load_engine
from clip_engine.acceleration.shared_prefixes import PrefixTree, encode_text
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.prompts import DEFAULT_TEMPLATE, fill

ROUNDS = {10: 21, 100: 5, 1000: 3}  # by the number of labels


@torch.inference_mode()
def main() -> None:
    """Print a table of processor time."""
    torch.set_num_threads(1)
    cache = Path(__file__).resolve().parents[1] / "build" / "bench-cache"
    encoder = load_engine(str(make_weights(VIT_B_32, cache).folder)).model
    assert isinstance(encoder, ClipDualEncoder)
    model = encoder.clip
    print("| labels | tokens, trimmed | ms | as a tree | ms | times | largest difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count, rounds in ROUNDS.items():
        prompts = [fill(DEFAULT_TEMPLATE, label) for label in label_list(count)]
        tokens = encoder.tokenize(prompts)
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "trimmed": model.encode_text,
            "tree": lambda rows: encode_text(model, rows),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        given: dict[str, Tensor] = {}
        for _ in range(rounds):
            for name, encode in ways.items():
                start = time.process_time()
                given[name] = torch.nn.functional.normalize(encode(tokens), dim=-1)
                taken[name].append(time.process_time() - start)
        plain, tree = (1000 * median(taken[name]) for name in ways)
        longest = int(tokens.argmax(dim=-1).max()) + 1
        nodes = len(PrefixTree.of(tokens).tokens)
        difference = (given["trimmed"] - given["tree"]).abs().max()
        print(
            f"| {count:,} | {longest * count:,} | {plain:,.0f} | {nodes:,} | {tree:,.0f} | "
            f"{plain / tree:.1f} | {difference:.1g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
