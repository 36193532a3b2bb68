"""Options that are text, whatever the locale makes of the command line's bytes."""

from __future__ import annotations

import click

from worker.contract.text import decoded
from worker.quoting import quote


def text(value: str) -> str:
    """An option's or argument's text, see `worker.contract.text.decoded`; for click's `type`.

    Raises:
        BadParameter: It is none in the locale's encoding, and no UTF-8.
    """
    found = decoded(value)
    if found is None:
        raise click.BadParameter(
            f"{quote(value)} is no text in UTF-8; use a terminal and a locale for it, such as "
            "LC_ALL=C.UTF-8."
        )
    return found
