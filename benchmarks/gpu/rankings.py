"""Whether the demo model's best labels for drawn pictures are those of the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gpu.report import Options, Report
from clip_engine import load_engine
from clip_engine.engine import Engine
from clip_engine.scoring.prediction import Prediction
from worker.cli.demo.images import DEMO_IMAGES

K = 5
NEAR_TIE = 0.002  # of two probabilities: below it float16 may swap their labels
WORDS = tuple(dict.fromkeys(label for image in DEMO_IMAGES for label in image.labels))


def check_rankings(options: Options, report: Report) -> None:
    """Each picture with its own labels, then with the labels of all."""
    here = load_engine("demo", device=options.device)
    there = load_engine("demo", device="cpu", precision="float32")
    here.warm()
    same, furthest = 0, 0.0
    found, expected = _rankings(here), _rankings(there)
    for mine, reference in zip(found, expected, strict=True):
        same += is_same_ranking(mine, reference)
        furthest = max(furthest, largest_change(mine, reference))
    report.record("rankings", {"same": same, "of": len(found), "largest_change": furthest})
    report.row("demo model: top-5 as on the CPU", f"{same} of {len(found)}")
    report.check(
        f"demo model, {here.model.precision}, best labels of drawn pictures",
        passed=same == len(found),
        found=f"{same} of {len(found)} rankings as in float32 on the CPU; a probability changed "
        f"by {furthest:.4f} at most",
    )


def is_same_ranking(found: Sequence[Prediction], expected: Sequence[Prediction]) -> bool:
    """Whether the labels are the same in the same order, but for near ties.

    Args:
        found: Best first.
        expected: Best first.
    """
    chances = {one.label: one.probability for one in expected}
    return all(
        a.label == b.label or abs(chances.get(a.label, 0.0) - b.probability) < NEAR_TIE
        for a, b in zip(found, expected, strict=True)
    )


def largest_change(found: Sequence[Prediction], expected: Sequence[Prediction]) -> float:
    """Of the probability of a label that both have."""
    chances = {one.label: one.probability for one in expected}
    return max(
        (abs(one.probability - chances[one.label]) for one in found if one.label in chances),
        default=1.0,
    )


def _rankings(engine: Engine) -> list[list[Prediction]]:
    own = [engine.classify([image.path], image.labels, k=K)[0] for image in DEMO_IMAGES]
    return own + engine.classify([image.path for image in DEMO_IMAGES], WORDS, k=K)
