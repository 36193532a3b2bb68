"""The metrics ports of several workers: the first has the one that is set, each next one more."""

from __future__ import annotations

from worker.cli.output.usage_error import WrongInputError
from worker.variables import METRICS_PORT

HIGHEST = 65_535


def check_ports(first: int | None, count: int) -> None:
    """Check that each of `count` workers gets a port.

    Raises:
        WrongInputError: There are too few above the first.
    """
    if first is not None and first + count - 1 > HIGHEST:
        raise WrongInputError(
            f"{METRICS_PORT} is {first}, and {count} workers need one port each from there on; "
            f"set {HIGHEST - count + 1} or less."
        )


def port_variables(first: int | None, number: int) -> dict[str, str]:
    """What the environment of the worker with this number, from 1, needs; nothing without ports."""
    return {} if first is None else {METRICS_PORT: str(first + number - 1)}
