"""What `clip-worker tune` tries and recommends, on measurements that a function makes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from worker.cli.tune.agreement import Agreement, agreement
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.decision import Decision, candidates
from worker.cli.tune.measurement import Facts, Measurement, Round
from worker.cli.tune.recommendation import Comparison, compare, recommended
from worker.cli.tune.search import Bounds, precisions_on, search
from worker.cli.tune.sentences import notes, recommendation

EXACT = Agreement(100, 1.0, 1.0, 1.0, 0.0, 0.0)
CHANGES = {"float32": 0.0, "bfloat16": 0.02, "int8": 0.005, "float16": 0.001}
ON_CPU = Bounds(("float32", "bfloat16", "int8"), max_change=0.01)


def round_of(images_per_s: float, cpu_s: float | None = 0.01) -> Round:
    return Round(round(images_per_s * 10), 10.0, cpu_s, 1000, None)


def measured(
    configuration: Configuration,
    rate: Callable[[Facts], float],
    *,
    device: str = "cpu",
    cores: int = 4,
) -> Measurement:
    """As a worker with so many cores would be; its defaults are those of `Settings`."""
    workers = configuration.workers or 1
    share = max(1, cores // workers)
    on_cpu = device == "cpu"
    facts = Facts(
        device=device,
        same_device=device,
        gpu=None,
        gpus=0,
        cores=cores,
        model="demo",
        digest="0" * 64,
        precision=configuration.precision or ("float32" if on_cpu else "float16"),
        max_batch=configuration.max_batch or (8 if on_cpu else 64),
        replicas=configuration.replicas or (share if on_cpu else 2),
        preparation_processes=configuration.preparation_processes or share,
        workers=workers,
    )
    images_per_s = rate(facts)
    if images_per_s == 0:
        return Measurement(configuration, failure="It does not fit into memory.")
    change = CHANGES[facts.precision]
    return Measurement(
        configuration,
        facts,
        rounds=(round_of(images_per_s),),
        latencies_s=(0.02,),
        agreement=Agreement(100, 0.99, 0.98, 0.97, change / 2, change),
    )


class Bench:
    """Measures by a function, at most so many."""

    def __init__(self, rate: Callable[[Facts], float], most: int = 100, **machine) -> None:
        self.rate, self.left, self.machine = rate, most, machine
        self.measured: list[Measurement] = []

    def measure(self, configuration: Configuration) -> Measurement | None:
        if not self.left:
            return None
        self.left -= 1
        self.measured.append(measured(configuration, self.rate, **self.machine))
        return self.measured[-1]

    def search(self, bounds: Bounds = ON_CPU) -> Measurement:
        first = self.measure(Configuration())
        assert first
        return search(first, bounds, self.measure)


def test_the_fastest_precision_that_agrees_is_taken_to_the_best_size_of_batch():
    speed = {"float32": 1.0, "bfloat16": 9.0, "int8": 2.0}
    bench = Bench(lambda facts: 100 * speed[facts.precision] * min(facts.max_batch, 24) ** 0.5)

    best = bench.search()

    assert best.configuration == Configuration(precision="int8", max_batch=32)
    tried = {each.configuration for each in bench.measured}
    assert Configuration(precision="bfloat16") in tried  # faster, and refused: it changes too much
    assert Configuration(precision="int8", max_batch=64) in tried
    assert Configuration(precision="int8", max_batch=128) not in tried


@pytest.mark.parametrize(
    ("rate", "found"),
    [
        (lambda facts: 100.0, Configuration()),
        (lambda facts: 100 + facts.max_batch / 100, Configuration()),  # less than a step is worth
        (lambda facts: 0 if facts.max_batch > 16 else facts.max_batch, Configuration(max_batch=16)),
        (lambda facts: 100 / facts.max_batch, Configuration(max_batch=1)),
        (lambda facts: 100 / facts.replicas, Configuration(replicas=1)),
        (
            lambda facts: 100 / facts.preparation_processes,
            Configuration(preparation_processes=1),
        ),
        (
            lambda facts: facts.workers * min(facts.preparation_processes, 2),
            Configuration(preparation_processes=None, workers=2),
        ),
    ],
)
def test_each_number_is_doubled_or_halved_while_that_is_faster(rate, found):
    assert Bench(rate).search().configuration == found


def test_several_workers_share_the_processes_that_were_set_for_one():
    def rate(facts: Facts) -> float:
        return facts.workers * (2 if facts.preparation_processes == 2 // facts.workers else 1)

    best = Bench(rate).search()

    assert best.configuration == Configuration(preparation_processes=1, workers=2)


def test_on_a_gpu_half_precision_is_the_start_and_float32_the_only_one_that_needs_no_agreement():
    bounds = Bounds(precisions_on("cuda:0", ["float32", "float16", "bfloat16", "int8"]), 0.0005)
    bench = Bench(
        lambda facts: {"float32": 1.0, "float16": 4.0, "bfloat16": 4.0}[facts.precision],
        device="cuda:0",
        cores=16,
    )

    assert bench.search(bounds).configuration == Configuration(precision="float32")
    assert "int8" not in bounds.precisions


def test_the_search_ends_with_what_it_has_when_the_time_is_over():
    bench = Bench(lambda facts: facts.max_batch, most=3)  # the first, bfloat16, int8

    assert bench.search().configuration == Configuration()
    assert len(bench.measured) == 3


def test_agreement_of_an_example_by_hand():
    reference = np.float32([[0.5, 0.3, 0.1, 0.05, 0.03, 0.02], [0.4, 0.2, 0.2, 0.1, 0.06, 0.04]])
    found = np.float32([[0.3, 0.5, 0.1, 0.05, 0.03, 0.02], [0.4, 0.2, 0.2, 0.1, 0.03, 0.07]])

    result = agreement(reference, found)

    assert (result.images, result.top_1) == (2, 0.5)  # the first image's best label is another
    assert result.top_5 == 0.5  # that of the second has another fifth label
    assert result.top_5_in_order == 0.0
    assert result.largest_change == pytest.approx(0.2, abs=1e-6)
    assert result.change_p99 == pytest.approx(0.2, abs=1e-6)
    assert agreement(reference, reference) == Agreement(2, 1.0, 1.0, 1.0, 0.0, 0.0)


def test_fewer_labels_than_five_are_compared_as_they_are():
    assert agreement(np.float32([[0.9, 0.1]]), np.float32([[0.6, 0.4]])).top_5_in_order == 1.0


@pytest.mark.parametrize(
    ("ratios", "is_faster"),
    [
        ((1.4, 1.3, 1.5), True),
        ((1.4, 0.99, 1.5), False),  # not in every turn
        ((1.01, 1.02, 1.02), False),  # in every turn, but by nothing that is worth a setting
    ],
)
def test_what_is_recommended_was_faster_in_every_turn(ratios, is_faster):
    slow = Comparison(Configuration(max_batch=4), (1.05, 1.05, 1.05))
    comparison = Comparison(Configuration(max_batch=16), ratios)

    assert recommended([slow, comparison]) == (comparison if is_faster else slow)
    assert recommended([comparison]) == (comparison if is_faster else None)


def test_turns_are_compared_one_by_one_so_that_a_machine_that_slows_down_counts_for_both():
    faster = Configuration(max_batch=16)

    [comparison] = compare([100.0, 50.0, 10.0], {faster: [150.0, 75.0, 15.0]})

    assert comparison.ratios == (1.5, 1.5, 1.5)
    assert comparison.is_faster


def test_the_fastest_and_the_fastest_of_the_same_precision_are_compared_again():
    def each(rate: float, **changes) -> Measurement:
        return measured(Configuration(**changes), lambda _: rate)

    first = each(100)
    int8, batch = each(200, precision="int8"), each(110, max_batch=16)
    others = [each(300, precision="bfloat16"), each(105, max_batch=4), each(20, replicas=1)]

    assert candidates(first, [first, *others, int8, batch], ON_CPU) == [int8, batch]
    assert candidates(first, [first, others[2]], ON_CPU) == []  # so much slower that it is clear


def test_present_settings_that_change_too_much_are_replaced_although_they_are_fastest():
    first = measured(Configuration(precision="bfloat16"), lambda _: 200)
    best = measured(Configuration(precision="float32"), lambda _: 100)
    comparison = Comparison(best.configuration, (0.5, 0.5, 0.5))

    assert candidates(first, [first, best], ON_CPU) == [best]
    assert recommended([comparison], accepts_default=False) == comparison
    decision = Decision(first, best, comparison, 0.01, is_first_accepted=False)
    text = " ".join(recommendation(decision, "present settings"))
    assert text.startswith("Recommended: float32: 0.50 times (0.50 to 0.50 in 3 turns)")
    assert "change a probability by up to 0.0200, more than --max-change 0.01 allows" in text


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        ({"comparison": None}, "The defaults are right: nothing that was measured was faster."),
        (
            {"comparison": None, "is_compared": False},
            "The defaults were not compared with other settings.",
        ),
        (
            {"comparison": Comparison(Configuration(max_batch=16), (1.2, 0.9, 1.0))},
            (
                "The defaults are right: the best other settings, batch 16, gave 1.00 times (0.90 "
                "to 1.20 in 3 turns) their images per second, which is not clearly more."
            ),
        ),
    ],
)
def test_without_a_clear_gain_the_defaults_are_right(decision, sentence):
    first = measured(Configuration(), lambda _: 100)

    found = recommendation(Decision(first, None, max_change=0.01, **decision), "defaults")

    assert found == [sentence]


def test_rounds_of_several_workers_add_up():
    # One uses 1 core and the other 9; all programs together use 12.
    one, other = round_of(100, cpu_s=0.01), round_of(300, cpu_s=0.03)
    together = Round.together([replace(one, others=11.0), replace(other, others=3.0)])

    assert together.images_per_s == pytest.approx(400)
    assert together.cpu_s == pytest.approx(0.025)  # a quarter of the images took 0.01
    assert together.memory_bytes == 2000
    assert together.others == pytest.approx(2)
    assert Round.together([round_of(100, cpu_s=None), round_of(300)]).cpu_s is None


@pytest.mark.parametrize(("others", "is_said"), [(None, False), (0.2, False), (3.0, True)])
def test_a_machine_that_others_keep_busy_is_mentioned(others, is_said):
    found = measured(Configuration(), lambda _: 100, cores=4)
    found = replace(found, rounds=(replace(found.rounds[0], others=others),))

    text = " ".join(notes([found]))

    assert ("Other programs used up to 75% of the cores meanwhile." in text) is is_said


@pytest.mark.parametrize(
    ("memory", "gpu", "cost"),
    [
        (None, None, " ms instead of 20.0."),
        (2_000_000_000, None, " ms instead of 20.0, memory is 2,000 MB instead of 2,000."),
        (
            2_000_000_000,
            3_000_000_000,
            (
                " ms instead of 20.0, memory is 2,000 MB instead of 2,000, the GPU's 3,000 MB "
                "instead of 3,000."
            ),
        ),
    ],
)
def test_a_recommendation_says_what_it_costs_as_far_as_that_is_known(memory, gpu, cost):
    rounds = (Round(1000, 10.0, None, memory, gpu),)
    first, best = (
        replace(measured(Configuration(precision=precision), lambda _: 1), rounds=rounds)
        for precision in ("float32", "int8")
    )
    comparison = Comparison(best.configuration, (2.0, 2.5, 3.0))

    gain, costs = recommendation(Decision(first, best, comparison, 0.01), "defaults")

    assert gain == (
        "Recommended: int8: 2.50 times (2.00 to 3.00 in 3 turns) the images per second of the "
        "defaults."
    )
    assert costs == (
        "Compared with float32, the best label is the same for 99.0% of the images, and the "
        f"largest change of a probability is 0.0050. A single image takes 20.0{cost}"
    )
