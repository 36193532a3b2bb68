"""Shows images on a terminal: as they are where it can, else as coloured half blocks.

Protocols: https://sw.kovidgoyal.net/kitty/graphics-protocol/ and
https://iterm2.com/documentation-images.html.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from worker.cli.output.thumbnails import Picture, can_draw, per_row, picture_lines

Protocol = Literal["kitty", "iterm2"]

CHUNK = 4096  # most characters of one command of kitty's protocol
MOST_COLUMNS = 120


def image_protocol(environment: Mapping[str, str]) -> Protocol | None:
    """How the terminal shows images, by its environment variables; None if it can't.

    Inside tmux and screen it can't: they do not pass images on.
    """
    if environment.get("TMUX") or environment.get("STY"):
        return None
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("TERM") == "xterm-kitty" or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def show_png(png: bytes, columns: int, protocol: Protocol) -> str:
    """What to write to the terminal to show an image.

    Args:
        png: The file.
        columns: Width to show it in.
        protocol: Of the terminal.
    """
    data, width = b64encode(png).decode(), min(columns, MOST_COLUMNS)
    if protocol == "iterm2":
        return f"\x1b]1337;File=inline=1;size={len(png)};width={width}:{data}\a\n"
    # q=2: the terminal must not answer, or its answer would be read by the shell.
    chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
    commands = [f"m={int(i < len(chunks) - 1)};{chunk}" for i, chunk in enumerate(chunks)]
    first = f"a=T,f=100,q=2,c={width},"
    return "".join(_kitty(commands, first)) + "\n"


def _kitty(commands: Sequence[str], first: str) -> Iterator[str]:
    for i, command in enumerate(commands):
        yield f"\x1b_G{'' if i else first}{command}\x1b\\"


def print_thumbnails(console: Console, paths: Sequence[Path]) -> None:
    """Print thumbnails side by side, with file names (without suffix) below.

    Nothing is printed if the output is not a terminal, or has too few colours.

    Args:
        console: Prints the images.
        paths: Image files of any size.
    """
    if not can_draw(console):
        return
    rows = math.ceil(len(paths) / per_row(console))
    in_a_row = math.ceil(len(paths) / rows)
    for first in range(0, len(paths), in_a_row):
        row = paths[first : first + in_a_row]
        for line in picture_lines([Picture.of(path, path.stem) for path in row]):
            console.print(line)
