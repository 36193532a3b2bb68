"""How many workers `clip-worker start` runs, and which GPUs they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.runtime.device import VISIBLE, mig_list
from worker.runtime.nvml import NvmlUnavailableError
from worker.runtime.visible_gpus import find_gpus

if TYPE_CHECKING:
    from worker.settings import Settings


def choose_workers(
    settings: Settings,
    say: Callable[[str], None],
    *,
    find: Callable[[], list[str]] = find_gpus,
) -> tuple[int, dict[str, str]]:
    """How many workers to run, and what their environment needs.

    Args:
        settings: Of the workers.
        say: Called with a sentence where the GPUs can't be counted.
        find: The UUIDs of the visible GPUs and MIG instances.

    Returns:
        The number, and `CUDA_VISIBLE_DEVICES` where workers share MIG instances: each then takes
        one entry, see `worker.runtime.device`.
    """
    if settings.workers == 1 or settings.device not in ("auto", "cuda"):
        return settings.workers or 1, {}
    try:
        found = find()
    except NvmlUnavailableError as error:
        if settings.workers is None:
            say(
                f"The GPUs can't be counted: {error} CLIP_WORKER_WORKERS sets how many workers run."
            )
        found = []
    count = settings.workers or len(found) or 1
    listed = ",".join(found)
    return count, {VISIBLE: listed} if count > 1 and mig_list(listed) else {}
