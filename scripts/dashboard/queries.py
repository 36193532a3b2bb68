"""PromQL that several panels of the dashboard share. `$queue` is the chosen queues."""

from __future__ import annotations


def of_queue(metric: str) -> str:
    """Each process reports the queue as it last saw it: take one, and add the queues."""
    return f"sum({by_queue(metric)})"


def by_queue(metric: str) -> str:
    """Each process reports the queue as it last saw it: take one for each queue."""
    return f'max by (namespace, queue) ({metric}{{queue=~"$queue"}})'


def per_second(metric: str, by: str, labels: str = "") -> str:
    """The rate of a counter, by a label."""
    selector = f"{{{labels}}}" if labels else ""
    return f"sum by ({by}) (rate({metric}{selector}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str) -> str:
    """What a share of a histogram's values lie below, by a label."""
    buckets = f"sum by ({by}, le) (rate({metric}_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"
