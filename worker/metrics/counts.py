"""A counter that takes many events at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily

from worker.metrics.catalogue import Metric


class Counts:
    """A counter with labels. Threads may share it. It is a collector of prometheus_client.

    Args:
        metric: What is counted.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def add(self, *labels: str, count: int = 1) -> None:
        """Count something so many times, under the values of the labels."""
        with self._lock:
            self._counts[labels] += count

    def all(self) -> dict[tuple[str, ...], int]:
        """What was counted so far, by the values of the labels."""
        with self._lock:
            return dict(self._counts)

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The metric without values."""
        yield CounterMetricFamily(
            self._metric.full_name, self._metric.help, labels=self._metric.labels
        )

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metric as it stands."""
        [family] = self.describe()
        for labels, count in self.all().items():
            family.add_metric(labels, count)
        yield family
