"""The settings file: lines `NAME=VALUE`.

Docker Compose's `env_file`, systemd's `EnvironmentFile` and a shell's `.` read it alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from clip_worker.quoting import quote
from worker.cli.output.table import printable
from worker.cli.output.usage_error import WrongInputError

_PLAIN = re.compile(r"[\w./:@,+-]+", re.ASCII)


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a file that can't be written, before anything is measured.

    Raises:
        WrongInputError: It exists, or its folder doesn't.
    """
    if path.exists() and not force:
        raise WrongInputError(
            f"The file {quote(str(path))} exists; give --force to replace it, or another --output."
        )
    if not path.parent.is_dir():
        raise WrongInputError(
            f"There is no folder {quote(str(path.parent))} for --output; create it."
        )


def settings_text(variables: Mapping[str, str], comments: Sequence[str]) -> str:
    r"""The content of a settings file.

    >>> settings_text({"CLIP_WORKER_MODEL": "a model.pt"}, ["Measured today."])
    "# Measured today.\nCLIP_WORKER_MODEL='a model.pt'\n"

    Raises:
        WrongInputError: A value can't be written so that all readers understand it.
    """
    lines = [f"# {printable(comment)}" for comment in comments]
    lines += [f"{name}={_written(name, value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def write_settings(path: Path, text: str) -> None:
    """Write the file.

    Raises:
        WrongInputError: It can't be written.
    """
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise WrongInputError(
            f"The file {quote(str(path))} can't be written: {error.strerror}."
        ) from error


def _written(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or not value.isprintable():
        raise WrongInputError(
            f"{name} is {quote(value)}, which a settings file can't hold; use a name without "
            "apostrophes and control characters."
        )
    return f"'{value}'"  # in single quotes, none of the readers replaces a $ or a backslash
