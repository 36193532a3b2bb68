"""A panel of Grafana's dashboard, and what it queries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """One expression of a panel.

    Attributes:
        expr: PromQL; `$queue` is the chosen queues, as a regular expression.
        legend: Name of its lines, with `{{label}}` for the value of a label.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Above it.
        description: What it shows, for the tooltip.
        queries: What it draws.
        kind: Grafana's name of the panel's type.
        unit: Grafana's name of the unit.
        width: In columns, of 24.
        limits: Where green ends and orange and red begin; only for `stat`.
        is_stacked: Whether lines add up.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    limits: tuple[float, ...] = ()
    is_stacked: bool = False
