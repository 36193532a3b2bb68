"""A run of `clip-worker tune` on workers that a test makes up: what is kept, and what time does."""

from __future__ import annotations

import contextlib
from typing import Self

import numpy as np
import pytest

from worker.cli.tune import tuning
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.measurement import Collected, Facts, Round
from worker.cli.tune.subject import SubjectError, Task
from worker.cli.tune.tuning import TURNS, Plan, Tuning

IMAGES = tuple(f"file:///{number}.jpg" for number in range(6))
START_S, ROUND_S = 10.0, 1.0
REFERENCE = np.float32([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


class Machine:
    """What the workers of a test do, and its time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.precision = "float32"  # of the settings as they are
        self.broken = {1: "1.jpg is no image."}  # by index
        self.failing: set[Configuration] = set()
        self.asked: list[tuple[Configuration, int, str | None]] = []
        self.running = self.most_running = 0

    def subject(self, task: Task, configuration: Configuration) -> Subject:
        return Subject(self, task, configuration)


class Subject:
    """In place of `worker.cli.tune.subject.Subject`."""

    def __init__(self, machine: Machine, task: Task, configuration: Configuration) -> None:
        self.machine, self.task, self.configuration = machine, task, configuration

    def __enter__(self) -> Self:
        self.machine.running += 1
        self.machine.most_running = max(self.machine.most_running, self.machine.running)
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.running -= 1

    def start(self) -> None:
        self.machine.now_s += START_S

    def wait_until_ready(self) -> Facts:
        if self.configuration in self.machine.failing:
            raise SubjectError("It does not fit into memory.")
        precision = self.configuration.precision or self.machine.precision
        return Facts("cuda:1", "cuda:1", "H100", 2, 4, "demo", "0", precision, 8, 2, 4, 1)

    def collect(self, seconds: float, count: int):
        device = self.task.environment.get("CLIP_WORKER_DEVICE")
        self.machine.asked.append((self.configuration, count, device))
        failed = {
            index: reason
            for index, reason in self.machine.broken.items()
            if IMAGES[index] in self.task.images
        }
        shift = np.float32(0.0 if self.configuration.precision == "float32" else 0.05)
        found = REFERENCE + shift * np.float32([1, -1])
        return Collected(min(count, 5), failed), found

    def latency(self, seconds: float) -> tuple[float, ...]:
        return (0.01,)

    def round(self, seconds: float) -> Round:
        self.machine.now_s += ROUND_S
        rate = 300 if self.configuration.max_batch == 16 else 100
        return Round(rate, 1.0, 0.01, 10, None)


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(tuning, "Subject", machine.subject)
    return machine


def run(machine: Machine, total_s: float, tmp_path) -> Tuning:
    task = Task({}, 1, ("cat", "dog"), ("{}",), IMAGES, tmp_path)
    return Tuning(
        task,
        Plan.within(total_s),
        base="defaults",
        progress=lambda _what, _passed_s: None,
        held=contextlib.nullcontext,
        clock=lambda: machine.now_s,
    )


def test_the_first_run_chooses_images_and_device_for_all_and_float32_is_the_reference(
    machine, tmp_path
):
    machine.precision = "float16"
    tuned = run(machine, 1000.0, tmp_path)

    first = tuned.first()

    reference = Configuration(precision="float32")
    assert [each.configuration for each in tuned.measured] == [Configuration(), reference]
    # 5 of 6 in the time, one of them unreadable: 4 for all others, on the same GPU.
    assert machine.asked == [(Configuration(), 6, None), (reference, 4, "cuda:1")]
    assert tuned.failed == {IMAGES[1]: "1.jpg is no image."}
    assert first.agreement.largest_change == pytest.approx(0.05, abs=1e-6)
    assert first.agreement.images == 4
    assert tuned.measured[1].agreement.largest_change == 0
    assert tuned.measure(reference) is tuned.measured[1]


def test_without_a_readable_image_there_is_nothing_to_measure(machine, tmp_path):
    machine.broken = dict.fromkeys(range(5), "no image")

    with pytest.raises(SubjectError, match="None of the images can be read"):
        run(machine, 1000.0, tmp_path).first()


def test_a_configuration_that_fails_is_kept_with_its_reason(machine, tmp_path):
    large = Configuration(max_batch=1024)
    machine.failing = {large}
    tuned = run(machine, 1000.0, tmp_path)
    tuned.first()

    found = tuned.measure(large)

    assert (found.failure, found.images_per_s) == ("It does not fit into memory.", 0)
    assert tuned.measured[-1] is found
    assert machine.running == 0


def test_what_does_not_suit_the_time_is_left_out_but_for_one_to_compare_with(machine, tmp_path):
    machine.precision = "float32"
    tuned = run(machine, 20.0, tmp_path)
    tuned.first()

    sizes = [Configuration(max_batch=size) for size in (16, 32)]
    found = [tuned.measure(each) for each in sizes]

    assert found[0].images_per_s == 300
    assert found[1] is None
    assert tuned.untried == sizes[1:]


def test_turns_run_all_side_by_side(machine, tmp_path):
    tuned = run(machine, 1000.0, tmp_path)
    tuned.first()

    rates = tuned.in_turns([Configuration(), Configuration(max_batch=16)])

    assert rates == {
        Configuration(): TURNS * (100.0,),
        Configuration(max_batch=16): TURNS * (300.0,),
    }
    assert (machine.most_running, machine.running) == (2, 0)
