"""The command line, `clip-worker`: `start`, `classify`, `demo`.

It loads neither torch nor the engine, but in the worker that `start` becomes.
"""

from worker.cli.entry import main

__all__ = ["main"]
