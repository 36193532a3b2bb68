"""Warns once of each thing that is skipped, however often it is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

MOST = 10_000  # things that are remembered


class Warned:
    """Logs one line for each thing.

    Args:
        logger: Of the module that skips things.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: set[tuple[str, str]] = set()

    def __call__(self, name: str, reason: str) -> None:
        """Warn that something is skipped, unless that was said before.

        Args:
            name: As it is shown.
            reason: The rest of the sentence.
        """
        if (name, reason) in self._told:
            return
        if len(self._told) >= MOST:
            self._told.clear()
        self._told.add((name, reason))
        self._logger.warning("Skipped %s: it %s.", name, reason)
