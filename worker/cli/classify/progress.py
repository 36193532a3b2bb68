"""The progress line that `classify` shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from click import echo

from clip_worker.contract import Outcome
from worker.cli.output.bar import bar
from worker.cli.output.screen import Screen

BAR_WIDTH = 30


def with_progress(
    outcomes: Iterable[tuple[int, Outcome]], total: int, screen: Screen
) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcomes, with a line below what is printed that counts them.

    The line is there only while the next outcome is awaited, so that what the caller prints does
    not run into it.

    Args:
        outcomes: The outcomes.
        total: Number of images.
        screen: Shows the line, if it is a terminal.
    """
    if not screen.is_terminal:
        yield from outcomes
        return
    done, shown = 0, ""
    try:
        shown = _draw(screen, "waiting for a worker")
        for outcome in outcomes:
            done += 1
            shown = _erase(screen, shown)
            yield outcome
            drawn = bar(done / total, BAR_WIDTH, unicode=screen.unicode)
            shown = _draw(screen, f"classifying {drawn} {done}/{total}")
    finally:
        _erase(screen, shown)


def _draw(screen: Screen, line: str) -> str:
    line = line[: screen.width - 1]
    echo(f"\r{line}", screen.file, nl=False)
    return line


def _erase(screen: Screen, line: str) -> str:
    echo(f"\r{len(line) * ' '}\r" if line else "", screen.file, nl=False)
    return ""
