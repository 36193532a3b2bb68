"""Metrics whose values lie elsewhere and are read when somebody asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from worker.metrics.catalogue import Metric

logger = logging.getLogger(__name__)

# A metric's value, or one for each combination of its labels' values; None where it is unknown.
Value = float | Mapping[tuple[str, ...], float] | None
Read = Callable[[], Mapping[str, Value]]  # from a metric's name, without the prefix
Family = CounterMetricFamily | GaugeMetricFamily


class Readings:
    """Reads several metrics together. It is a collector of prometheus_client.

    Args:
        metrics: Counters and gauges.
        read: Gives the values of those that are known.
    """

    def __init__(self, metrics: Sequence[Metric], read: Read) -> None:
        self._metrics = metrics
        self._read = read

    def describe(self) -> Iterator[Family]:
        """The metrics without values."""
        return map(_family, self._metrics)

    def collect(self) -> Iterator[Family]:
        """The metrics that are known now."""
        try:
            values = self._read()
        except Exception:  # a scrape must show the others nevertheless
            logger.exception("Can't read metrics")
            return
        for metric in self._metrics:
            value = values.get(metric.name)
            if value is None:
                continue
            family = _family(metric)
            series = value if isinstance(value, Mapping) else {(): value}
            for labels, number in series.items():
                family.add_metric(labels, number)
            yield family


def _family(metric: Metric) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.full_name, metric.help, labels=metric.labels)
