"""A program for the spawner's tests: it prints, ends or sleeps as its arguments say."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from torture.journal import READY, Journal


def main(arguments: Sequence[str]) -> int:
    """`print NAME`, `end STATUS` or `sleep`."""
    what, *rest = arguments
    if what == "print":
        print(os.environ[rest[0]])
    if what == "end":
        return int(rest[0])
    if what == "sleep":
        Journal(Path(os.environ["TORTURE_JOURNAL"])).write(READY)
        time.sleep(60)
    return 0
