"""What a bulk run asks of the place that its results go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_worker.sinks.row import Row


class Sink(Protocol):
    """Stores rows so that each is there once, also after a crash between any two calls.

    A run calls `open`, then `commit` at once, so that its journal has a position before the first
    row; then `write` and `commit` in turns, then `close`, all on one thread. After a crash it opens
    the sink with the position of the last `commit` that its journal has; the rows that were written
    after it are written again, so `open` discards them, or `write` replaces a row with the same
    `item.key`.
    """

    def open(self, position: str | None) -> None:
        """Begin, or continue.

        Args:
            position: What the last `commit` has returned; None for a new run.

        Raises:
            ServiceError: `SINK_FAILED`: it can't be written, or holds rows of another run.
        """

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Add rows; they need not be durable before `commit`.

        Returns:
            Those that can't be stored for a reason of their own, each with its error.

        Raises:
            ServiceError: `SINK_FAILED`: they can't be written.
        """

    def commit(self) -> str:
        """Make durable what was written.

        Returns:
            The position, for `open`.

        Raises:
            ServiceError: `SINK_FAILED`: it can't be made durable.
        """

    def close(self) -> None:
        """Release what is open; again does nothing."""


@runtime_checkable
class LineSink(Sink, Protocol):
    """A sink that stores the JSON of records, and takes it from whoever has it already."""

    def write_lines(self, lines: Sequence[str]) -> None:
        """Add rows as `clip_worker.sinks.record.record_json` writes them; see `write`.

        Raises:
            ServiceError: `SINK_FAILED`: they can't be written.
        """
