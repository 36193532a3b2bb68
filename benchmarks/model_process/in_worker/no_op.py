"""The no-op worker of `make bench` from the tree that is imported; the argument is its kind.

Since 37a75cc a worker answers `NotRegistered` to tasks that its application lacks, and the no-op
worker of that commit registers none.
"""

from __future__ import annotations

import sys

from benchmarks.bench.contenders.no_op_worker import main
from worker import app


def answer(**_: object) -> None:
    """Never called."""


if "clip.classify" not in app.tasks:
    app.task(name="clip.classify")(answer)

if __name__ == "__main__":
    main(sys.argv[1])
