"""The progress line that `classify` shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from clip_worker.contract import Outcome

FEW = 3  # images that need no bar


class OutcomeProgress:
    """Context manager that shows a progress line on stderr, if that is a terminal.

    Args:
        total: Number of images.
        console: Prints the outcomes. If it is a terminal too, it also draws the line, so that the
            two don't overwrite each other.
    """

    def __init__(self, total: int, console: Console) -> None:
        errors = Console(stderr=True)
        self._progress = Progress(
            *_columns(total),
            console=console if console.is_terminal else errors,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not errors.is_terminal,
        )
        self._task = self._progress.add_task("waiting for a worker", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def counted(self, outcomes: Iterable[tuple[int, Outcome]]) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcomes and count them."""
        for outcome in outcomes:
            self._progress.update(self._task, advance=1, description="classifying")
            yield outcome


def _columns(total: int) -> list[ProgressColumn]:
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if total > FEW:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return columns
