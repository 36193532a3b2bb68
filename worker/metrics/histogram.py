"""A histogram that takes many values at once: prometheus_client's takes them one by one."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily

from worker.metrics.catalogue import Metric


class Histogram:
    """Counts values by bucket, and adds them up. Threads may share it.

    It is a collector of prometheus_client.

    Args:
        metric: With buckets, and one label or none.
        series: Values of the label; one empty one without a label.
    """

    def __init__(self, metric: Metric, series: Iterable[str] = ("",)) -> None:
        self._metric = metric
        self._counts = {name: [0] * (len(metric.buckets) + 1) for name in series}
        self._sums = dict.fromkeys(self._counts, 0.0)
        self._lock = threading.Lock()

    def observe(self, value: float, series: str = "", times: int = 1) -> None:
        """Add a value, perhaps several times."""
        with self._lock:
            self._counts[series][bisect_left(self._metric.buckets, value)] += times
            self._sums[series] += value * times

    def observe_rows(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Add values of all series, each row with one of each; None is left out."""
        bounds = self._metric.buckets
        with self._lock:
            for series, counts in self._counts.items():
                total = 0.0
                for row in rows:
                    if (value := row[series]) is not None:
                        counts[bisect_left(bounds, value)] += 1
                        total += value
                self._sums[series] += total

    def totals(self, series: str = "") -> tuple[int, float]:
        """How many values there were, and their sum."""
        with self._lock:
            return sum(self._counts[series]), self._sums[series]

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The metric without values."""
        yield HistogramMetricFamily(
            self._metric.full_name, self._metric.help, labels=self._metric.labels
        )

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The metric as it stands."""
        bounds = [*map(str, self._metric.buckets), "+Inf"]
        [family] = self.describe()
        for series in self._counts:
            with self._lock:
                counts, total = list(self._counts[series]), self._sums[series]
            below, running = [], 0
            for bound, count in zip(bounds, counts, strict=True):
                running += count
                below.append((bound, float(running)))
            family.add_metric([series] if self._metric.labels else [], below, total)
        yield family
