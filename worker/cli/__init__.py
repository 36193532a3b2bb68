"""The command line, `clip-worker`: `start`, `classify`, `dead`, `models`, `demo`.

Only `start` and `models info` load torch and the engine.
"""

from worker.cli.entry import main

__all__ = ["main"]
