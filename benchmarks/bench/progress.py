"""What is being done, on stderr: stdout is for the tables."""

from __future__ import annotations

import sys
import time


def say(line: str) -> None:
    """One line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
