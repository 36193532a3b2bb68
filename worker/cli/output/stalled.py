"""What a command that sends images says while none of them ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_worker.bulk.progress import Progress

STALLED_S = 30.0


def stalled(progress: Progress) -> str:
    """What to look at if images are in flight and none has ended for long; else empty."""
    if progress.quiet_s < STALLED_S:
        return ""
    return (
        f"No image has ended for {STALLED_S:.0f} s; check that a worker is running "
        "(`clip-worker status`)."
    )
