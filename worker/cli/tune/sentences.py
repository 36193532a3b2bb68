"""What a run has come to, in sentences and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from worker.cli.tune.agreement import Agreement
from worker.cli.tune.decision import Decision
from worker.cli.tune.measurement import Measurement
from worker.cli.tune.recommendation import Comparison
from worker.cli.tune.table import change, megabytes, milliseconds

BUSY = 0.1  # of the cores, by other programs: from there on the output says so


def recommendation(decision: Decision, base: str) -> list[str]:
    """What is recommended, and what it costs.

    Args:
        decision: The end of a run.
        base: What the settings as they are are called, such as "defaults".
    """
    best, comparison = decision.best, decision.comparison
    if best is None or comparison is None:
        return [_keep(decision, base)]
    times = _times(comparison)
    found = [f"Recommended: {best.configuration}: {times} the images per second of the {base}."]
    if not decision.is_first_accepted:
        found.append(_refused(decision, base))
    return [*found, _cost(decision.first, best)]


def _refused(decision: Decision, base: str) -> str:
    agreement = decision.first.agreement
    if agreement is None:
        return f"The {base} could not be compared with float32."
    return (
        f"The {base} change a probability by up to {change(agreement.largest_change)}, more than "
        f"--max-change {decision.max_change:g} allows."
    )


def _keep(decision: Decision, base: str) -> str:
    comparison = decision.comparison
    if not decision.is_compared:
        return f"The {base} were not compared with other settings."
    if comparison is None:
        return f"The {base} are right: nothing that was measured was faster."
    return (
        f"The {base} are right: the best other settings, {comparison.configuration}, gave "
        f"{_times(comparison)} their images per second, which is not clearly more."
    )


def _cost(first: Measurement, best: Measurement) -> str:
    before, after = (milliseconds(each.latency_s(0.5)) for each in (first, best))
    parts = [f"{_agreement(best.agreement)} A single image takes {after} ms instead of {before}"]
    if first.memory_bytes and best.memory_bytes:
        memory = megabytes(best.memory_bytes)
        parts.append(f"memory is {memory} MB instead of {megabytes(first.memory_bytes)}")
    if first.gpu_bytes and best.gpu_bytes:
        memory = megabytes(best.gpu_bytes)
        parts.append(f"the GPU's {memory} MB instead of {megabytes(first.gpu_bytes)}")
    return ", ".join(parts) + "."


def _times(comparison: Comparison) -> str:
    least, most = min(comparison.ratios), max(comparison.ratios)
    turns = len(comparison.ratios)
    return f"{comparison.ratio:.2f} times ({least:.2f} to {most:.2f} in {turns} turns)"


def _agreement(found: Agreement | None) -> str:
    if found is None:
        return "There is no float32 to compare it with."
    if found.largest_change == 0:
        return "All probabilities are those of float32."
    return (
        f"Compared with float32, the best label is the same for {found.top_1:.1%} of the images, "
        f"and the largest change of a probability is {change(found.largest_change)}."
    )


def notes(measured: Sequence[Measurement]) -> list[str]:
    """What the table doesn't say: failures, and what its columns are."""
    found = [f"{each.configuration}: {each.failure}" for each in measured if each.failure]
    images = next((each.agreement.images for each in measured if each.agreement), 0)
    found.append(
        "p50, p99: latency of single images on an idle worker. CPU: processor time for an image. "
        f"top-1 to largest: agreement with float32 over {images:,} images; change p99 and largest: "
        "of a probability."
    )
    others = max((each.others for each in measured), default=0.0)
    if others > BUSY:
        found.append(
            f"Other programs used up to {others:.0%} of the cores meanwhile. More processes look "
            "better then than they are, because they get a larger share of the cores: compare CPU, "
            "or measure again when the machine is quiet."
        )
    return found


def decision_object(decision: Decision) -> dict[str, object]:
    """The recommendation, as JSON; no settings where the present ones are right."""
    best, comparison = decision.best, decision.comparison
    return {
        "recommended": best.configuration.variables() if best else {},
        "compared": comparison.configuration.variables() if comparison else None,
        "ratios": list(comparison.ratios) if comparison else [],
    }


def measurement_object(found: Measurement) -> dict[str, object]:
    """One measurement, as JSON."""
    return {
        "settings": found.configuration.variables(),
        "worker": asdict(found.facts) if found.facts else None,
        "images_per_s": [each.images_per_s for each in found.rounds],
        "latency_p50_s": found.latency_s(0.5),
        "latency_p99_s": found.latency_s(0.99),
        "cpu_s": found.cpu_s,
        "memory_bytes": found.memory_bytes,
        "gpu_bytes": found.gpu_bytes,
        "other_programs": found.others,
        "agreement": asdict(found.agreement) if found.agreement else None,
        "failure": found.failure,
    }
