"""What was measured of a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Self

from worker.cli.tune.agreement import Agreement
from worker.cli.tune.configuration import Configuration

MEMORY = "MEMORY"  # kinds of failures: it does not fit
OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker made of its settings.

    Attributes:
        device: `cpu` or `cuda:N`.
        same_device: For `CLIP_WORKER_DEVICE` of further workers that are to run on it.
        gpu: The GPU's name; None on a CPU.
        gpus: How many GPUs are visible.
        cores: How many cores all workers together may use.
        model: The model's name.
        digest: SHA-256 of its weights, in hexadecimal.
        precision: Of the image tower.
        max_batch: Most images of a forward pass.
        replicas: Forward passes at the same time, of each worker.
        preparation_processes: Processes that fetch and decode, of each worker.
        workers: That share the cores.
    """

    device: str
    same_device: str
    gpu: str | None
    gpus: int
    cores: int
    model: str
    digest: str
    precision: str
    max_batch: int
    replicas: int
    preparation_processes: int
    workers: int


@dataclass(frozen=True, slots=True)
class Collected:
    """A pass over the sample.

    Attributes:
        count: How many of its images were encoded or failed, from the first on.
        failed: By the index of an image that can't be read: why not.
    """

    count: int
    failed: dict[int, str]


@dataclass(frozen=True, slots=True)
class Round:
    """Some seconds with a full queue.

    Attributes:
        images: How many got their result.
        seconds: How long that took.
        cpu_s: Processor time of all processes for an image; None where the system doesn't say.
        memory_bytes: Peak of the model process, and what the preparation processes had of their
            own; None where the system doesn't say.
        gpu_bytes: Peak of the memory that torch reserved on the GPU; None on a CPU.
        others: How many cores other programs used meanwhile, on average, or None.
    """

    images: int
    seconds: float
    cpu_s: float | None
    memory_bytes: int | None
    gpu_bytes: int | None
    others: float | None = None

    @property
    def images_per_s(self) -> float:
        """The rate."""
        return self.images / self.seconds

    @classmethod
    def together(cls, rounds: Sequence[Self]) -> Self:
        """The round of several workers that ran at the same time."""
        images = sum(each.images_per_s for each in rounds)
        used = [each.cpu_s * each.images_per_s for each in rounds if each.cpu_s is not None]
        others = [each.others for each in rounds if each.others is not None]
        memory = [each.memory_bytes for each in rounds if each.memory_bytes is not None]
        gpu = [each.gpu_bytes for each in rounds if each.gpu_bytes is not None]
        return replace(
            rounds[0],
            images=sum(each.images for each in rounds),
            seconds=sum(each.images for each in rounds) / images,
            cpu_s=sum(used) / images if len(used) == len(rounds) else None,
            memory_bytes=sum(memory) if len(memory) == len(rounds) else None,
            gpu_bytes=sum(gpu) if len(gpu) == len(rounds) else None,
            # Each counts the other workers among the other programs.
            others=mean(others) - (len(used) - 1) * mean(used) if others and used else None,
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """A configuration and what was measured of it.

    Attributes:
        configuration: What was set.
        facts: What the worker made of it; None if it did not start.
        rounds: With a full queue.
        latencies_s: Of single images on an idle worker, from submitting to the result, ascending.
        agreement: With float32; None if there is no float32 to compare with.
        failure: Why it can't be used, in one sentence; None if it can.
    """

    configuration: Configuration
    facts: Facts | None = None
    rounds: tuple[Round, ...] = ()
    latencies_s: tuple[float, ...] = ()
    agreement: Agreement | None = None
    failure: str | None = None

    @property
    def images_per_s(self) -> float:
        """The median of the rounds; 0 if it failed."""
        return median(each.images_per_s for each in self.rounds) if self.rounds else 0.0

    @property
    def cpu_s(self) -> float | None:
        """Processor time of an image, the median of the rounds."""
        found = [each.cpu_s for each in self.rounds if each.cpu_s is not None]
        return median(found) if found else None

    @property
    def others(self) -> float:
        """Share of the cores that other programs used meanwhile; 0 if that is not known."""
        found = [each.others for each in self.rounds if each.others is not None]
        return max(0.0, median(found) / self.facts.cores) if found and self.facts else 0.0

    @property
    def memory_bytes(self) -> int | None:
        """The most that was seen."""
        return max((each.memory_bytes or 0 for each in self.rounds), default=0) or None

    @property
    def gpu_bytes(self) -> int | None:
        """The most that was seen."""
        return max((each.gpu_bytes or 0 for each in self.rounds), default=0) or None

    def latency_s(self, share: float) -> float | None:
        """The latency that so large a share of the single images did not exceed.

        >>> Measurement(Configuration(), latencies_s=(1.0, 2.0, 3.0, 4.0)).latency_s(0.5)
        2.0
        """
        if not self.latencies_s:
            return None
        return self.latencies_s[math.ceil(share * len(self.latencies_s)) - 1]
