"""Python's cyclic garbage collector, set for a process that takes thousands of messages a second.

Each message is a few dozen dictionaries and lists that are gone within the second, by their
reference counts alone: a passage through the worker makes no cycles. Python's own setting looks for
cycles every 700 objects, which takes a fifth of the queue path's time, and now and then among
all there are, those of the model's libraries too (`docs/performance.md`).
"""

from __future__ import annotations

import gc


def settle(threshold: int) -> None:
    """Leave alone what is there now for good, and look at what is new less often.

    Args:
        threshold: New objects after which the newest are looked at; 0 leaves Python's own setting.
    """
    if not threshold:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(threshold, *gc.get_threshold()[1:])
