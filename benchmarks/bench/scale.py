"""How much is measured: `--quick`, the default, `--full`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from benchmarks.bench import rivals
from benchmarks.bench.case import MAIN, Case

# Each of these takes two to five seconds for so many, where two cores are quiet.
SLOW_TASKS = {rivals.PLAIN: 8, rivals.BATCHES: 16, rivals.PIPELINE: 16, rivals.UNTUNED: 4}


@dataclass(frozen=True)
class Scale:
    """Counts of one run.

    Attributes:
        name: As on the command line.
        rounds: Of the main case and of the no-op; medians are taken over these.
        side_rounds: Of the other end-to-end cases.
        cases: Which end-to-end cases, by name, the most telling first; empty for all.
        seconds: Aimed-at length of one measurement of a fast contender.
        end_to_end_s: After so long no further end-to-end case is begun, and no round but the first.
        slow: A factor of the images a round of contenders that take long for one.
        no_op_tasks: Tasks a round of our path; the slower ones get fewer.
        idle_tasks: Single tasks on an idle worker.
        load_s: Length of each step of offered load.
        waiting: Numbers of waiting messages.
        labels: Numbers of labels.
        workers: Numbers of worker processes.
        lasting_tasks: Tasks over which a worker's memory is watched.
        starts: Starts of a worker, and imports of the client.
    """

    name: str
    rounds: int
    side_rounds: int
    cases: tuple[str, ...]
    seconds: float
    end_to_end_s: float
    slow: float
    no_op_tasks: int
    idle_tasks: int
    load_s: float
    waiting: tuple[int, ...]
    labels: tuple[int, ...]
    workers: tuple[int, ...]
    lasting_tasks: int
    starts: int

    @property
    def slow_tasks(self) -> Mapping[str, int]:
        """Images a round of the contenders that take long for one."""
        return {name: int(count * self.slow) for name, count in SLOW_TASKS.items()}

    def rounds_of(self, case: Case) -> int:
        """How often a case is measured: the slower it is the less."""
        if case.slow:
            return 1
        if case.name == MAIN:
            return self.rounds
        return max(1, self.side_rounds - 1) if case.heavy else self.side_rounds


SCALES = {
    "quick": Scale(
        name="quick",
        rounds=2,
        side_rounds=1,
        cases=("b32-small",),
        seconds=2.0,
        end_to_end_s=120.0,
        slow=0.5,
        no_op_tasks=4_000,
        idle_tasks=20,
        load_s=2.0,
        waiting=(1_000, 10_000),
        labels=(1, 100, 1_000),
        workers=(1, 2),
        lasting_tasks=20_000,
        starts=2,
    ),
    "default": Scale(
        name="default",
        rounds=5,
        side_rounds=3,
        cases=(
            "b32-small",
            "b32-small-1000-labels",
            "b32-large",
            "b32-12mp",
            "l14-small",
            "b32-small-own-labels",
        ),
        seconds=6.0,
        end_to_end_s=840.0,
        slow=1,
        no_op_tasks=30_000,
        idle_tasks=100,
        load_s=5.0,
        waiting=(1_000, 10_000, 100_000, 1_000_000),
        labels=(1, 10, 100, 1_000, 10_000, 100_000),
        workers=(1, 2, 4, 8),
        lasting_tasks=200_000,
        starts=3,
    ),
    "full": Scale(
        name="full",
        rounds=9,
        side_rounds=5,
        cases=(),
        seconds=10.0,
        end_to_end_s=inf,
        slow=2,
        no_op_tasks=50_000,
        idle_tasks=300,
        load_s=15.0,
        waiting=(1_000, 10_000, 100_000, 1_000_000),
        labels=(1, 10, 100, 1_000, 10_000, 100_000),
        workers=(1, 2, 3, 4, 6, 8),
        lasting_tasks=1_000_000,
        starts=9,
    ),
}
