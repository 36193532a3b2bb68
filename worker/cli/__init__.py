"""The command line, `clip-worker`: `start`, `classify`, `dead`, `models`, `demo`.

`classify` and `dead` need no more than the client; the others need the extra `worker`, and only
`start` and `models info` load torch and the engine.
"""

from worker.cli.entry import main

__all__ = ["main"]
