"""NVIDIA's management library, which describes GPUs without initialising CUDA.

The package `nvidia-ml-py` (module `pynvml`) speaks to it; the library itself comes with the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class NvmlUnavailableError(Exception):
    """The library can't be used; the message is a sentence."""


@contextmanager
def opened_nvml() -> Iterator[Any]:
    """The module `pynvml`, initialised, for the length of the block.

    Raises:
        NvmlUnavailableError: The package or the library is missing or fails, also in the block.
    """
    try:
        import pynvml
    except ImportError as error:
        raise NvmlUnavailableError("The package nvidia-ml-py is not installed.") from error
    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NvmlUnavailableError(f"NVIDIA's management library fails: {error}.") from error


def asked(nvml: Any, question: Callable[..., Any], *arguments: object) -> Any:
    """What a function of the library answers; None where this GPU or user is refused it."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None
