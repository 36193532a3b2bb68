"""Classifies torch's errors: out of memory, a lost device, or something else.

torch has an exception class for the first only; the others differ in their messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clip_engine.errors import DeviceLostError

# In messages of allocations that don't go through torch's allocator.
MEMORY_WORDS = ("out of memory", "alloc_failed")
CPU_MEMORY_WORDS = "defaultcpuallocator: can't allocate memory"  # torch has no class for a CPU's
# After any of these every later call in the process fails too: a CUDA context doesn't recover.
LOST_WORDS = (
    "cuda error",
    "device-side assert",
    "uncorrectable ecc",
    "unspecified launch failure",
    "illegal memory access",
    "device lost",
    "gpu is lost",
    "fallen off the bus",
    "execution_failed",
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a smaller batch may succeed."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    if CPU_MEMORY_WORDS in text:
        return True
    return _from_cuda(text) and any(word in text for word in MEMORY_WORDS)


def is_device_lost(error: Exception) -> bool:
    """Whether the device can't be used again by this process."""
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    accelerator_error = getattr(torch, "AcceleratorError", None)  # torch 2.8 and newer
    if accelerator_error is not None and isinstance(error, accelerator_error):
        return True
    return any(word in str(error).lower() for word in LOST_WORDS)


@contextmanager
def device_losses() -> Iterator[None]:
    """Raise `DeviceLostError` from an error that means the device is lost.

    Raises:
        DeviceLostError: From the device's own error.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_device_lost(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise DeviceLostError(
            f"The device failed and can't be used by this process any more ({reason}); "
            "restart the process, and check the driver's log if it happens again."
        ) from error


def _from_cuda(text: str) -> bool:
    return any(word in text for word in ("cuda", "cublas", "cudnn", "hip"))
