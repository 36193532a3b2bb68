"""How `clip-worker status` shows what it read: as JSON, as text, or on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from click import echo, style

from worker.cli.output.usage_error import say
from worker.cli.status.json_form import to_json
from worker.cli.status.view import view

if TYPE_CHECKING:
    from clip_worker.errors import QueueUnavailableError
    from worker.cli.output.screen import Screen
    from worker.cli.status.finding import Finding
    from worker.cli.status.redrawn_screen import RedrawnScreen
    from worker.cli.status.snapshot import Snapshot


class Output(Protocol):
    """Shows one snapshot after the other."""

    def show(self, snapshot: Snapshot, found: Sequence[Finding]) -> None:
        """Show what was read."""

    def failed(self, error: QueueUnavailableError) -> None:
        """Show why nothing could be read."""


class JsonLines:
    """A JSON object per snapshot, on stdout."""

    def show(self, snapshot: Snapshot, found: Sequence[Finding]) -> None:
        """Print a line."""
        echo(to_json(snapshot, found))

    def failed(self, error: QueueUnavailableError) -> None:
        """Print the error on stderr."""
        say(str(error))


class PlainText:
    """Views one below the other.

    Args:
        screen: Where they are printed; lines are of any length if it is not a terminal.
        url: Of Redis, without its password.
    """

    def __init__(self, screen: Screen, url: str) -> None:
        self._screen = screen
        self._url = url
        self._gap = ""

    def show(self, snapshot: Snapshot, found: Sequence[Finding]) -> None:
        """Print a view."""
        width = self._screen.width if self._screen.is_terminal else None
        text = "\n".join(view(snapshot, found, self._url, width))
        echo(f"{self._gap}{text}", self._screen.file, color=self._screen.colour)
        self._gap = "\n"

    def failed(self, error: QueueUnavailableError) -> None:
        """Print the error on stderr."""
        say(str(error))


class LiveView:
    """The newest view, in place of the last one.

    Args:
        screen: A terminal.
        url: Of Redis, without its password.
    """

    def __init__(self, screen: RedrawnScreen, url: str) -> None:
        self._screen = screen
        self._url = url
        self._last: tuple[Snapshot, Sequence[Finding]] | None = None

    def show(self, snapshot: Snapshot, found: Sequence[Finding]) -> None:
        """Draw a view."""
        self._last = snapshot, found
        self._screen.draw(view(snapshot, found, self._url, self._screen.width))

    def failed(self, error: QueueUnavailableError) -> None:
        """Draw the error above the last view."""
        width = self._screen.width
        sentence = f"{error} Trying again."
        lines = [style(line, fg="red") for line in textwrap.wrap(sentence, max(20, width))]
        if self._last:
            lines += ["", "Last seen:", *view(*self._last, self._url, width)]
        self._screen.draw(lines)
