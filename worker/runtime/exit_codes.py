"""Exit statuses of a worker that ends itself after a fault, for whoever starts the next one."""

from __future__ import annotations

HUNG = 70  # a decode or a forward pass took longer than hang_timeout_s
DEVICE_LOST = 71  # the accelerator failed in a way that only a new process mends


def status_of(code: object) -> int:
    """The exit status of a `SystemExit` with this code, which may be a sentence to print."""
    return code if isinstance(code, int) else int(code is not None)
