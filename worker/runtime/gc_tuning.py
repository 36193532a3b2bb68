"""Python's cyclic garbage collector, set for a process that takes thousands of messages a second.

Each message is a few dozen dictionaries and lists that are gone within the second, by their
reference counts alone: a passage through the worker makes no cycles. Python's own setting looks for
cycles every 700 objects, which takes a fifth of the queue path's time, and now and then among
all there are, those of the model's libraries too (`docs/performance.md`).
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def settle(threshold: int) -> None:
    """Leave alone what is there now until the process exits, and look at what is new less often.

    Args:
        threshold: New objects after which the newest are looked at; 0 leaves Python's own setting.
    """
    if not threshold:
        return
    gc.collect()
    gc.freeze()
    # At the exit all is collected: Triton prints a page about what it takes for leaks otherwise.
    atexit.register(gc.unfreeze)
    gc.set_threshold(threshold, *gc.get_threshold()[1:])


@contextmanager
def frozen() -> Iterator[None]:
    """Leave alone what is there now, until the end of the block."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
