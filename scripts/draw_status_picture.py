"""Draws docs/images/status.svg: `clip-worker status` of the workers on a Redis.

.venv/bin/python scripts/draw_status_picture.py redis://localhost:6379/0
"""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from clip_worker.redis.url import connect
from worker.cli.status.findings import findings
from worker.cli.status.reader import SnapshotReader
from worker.cli.status.view import view

TARGET = Path(__file__).parents[1] / "docs" / "images" / "status.svg"
WIDTH = 116
LOOKS, PAUSE_S = 7, 2.0  # until the trend is known
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a picture loads nothing


def main() -> None:
    """Look for some seconds, and draw the last view."""
    url = sys.argv[1]
    with connect(url) as redis:
        reader = SnapshotReader(redis, url, ["clip"])
        for _ in range(LOOKS - 1):
            reader.read()
            time.sleep(PAUSE_S)
        snapshot = reader.read()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="standard")
    for line in view(snapshot, findings(snapshot), "redis://redis:6379/0", WIDTH):
        console.print(Text.from_ansi(line), no_wrap=True)
    TARGET.write_text(drawn(console))


def drawn(console: Console) -> str:
    """The console's text as SVG, in a font that the reader has."""
    svg = _WEB_FONT.sub("", console.export_svg(title="clip-worker status"))
    return re.sub(r"font-family: Fira Code[^;]*;", "font-family: monospace;", svg)


if __name__ == "__main__":
    main()
