"""The command line, `clip-worker`: `start`, `classify`, `dead`, `models`, `demo`.

It loads neither torch nor the engine, except in the worker that `start` becomes and for `models
info`.
"""

from worker.cli.entry import main

__all__ = ["main"]
