"""Why torch can't use a GPU that the system shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.runtime.device import VISIBLE
from worker.runtime.visible_gpus import gpu_files


def unusable_gpu(
    torch: Any, *, root: Path = Path("/"), environment: Mapping[str, str] | None = None
) -> str | None:
    """Warn of a GPU that is visible although torch has found none.

    Args:
        torch: The module.
        root: Of the file system, for tests.
        environment: None for this process's.

    Returns:
        What is visible, why torch can't use it, and the remedy; None if there is no GPU of NVIDIA.
    """
    files = gpu_files(root)
    if not files or torch.version.hip:
        return None
    reason = (
        _other_build(torch)
        or _hidden(os.environ if environment is None else environment)
        or _locked(files)
        or _failure(torch)
    )
    return (
        f"A GPU is visible ({files[0]}), but torch can't use it: {reason}. "
        "The worker runs on the CPU; CLIP_WORKER_DEVICE=cpu does so without this warning."
    )


def _other_build(torch: Any) -> str | None:
    if torch.version.cuda is not None:
        return None
    return (
        f"torch {torch.__version__} is a build without CUDA; install one with CUDA, as pytorch.org "
        "describes"
    )


def _hidden(environment: Mapping[str, str]) -> str | None:
    value = environment.get(VISIBLE)
    if value is None or value.strip() not in ("", "-1"):
        return None
    return f"{VISIBLE} is {value!r}, which hides every GPU; unset it, or list the GPUs to use"


def _locked(files: list[Path]) -> str | None:
    closed = [str(file) for file in files if file.is_char_device() or file.is_file()]
    closed = [file for file in closed if not os.access(file, os.R_OK | os.W_OK)]
    if not closed:
        return None
    return (
        f"this user may not open {closed[0]}; add the user to the file's group, or mend the "
        "container's device permissions"
    )


def _failure(torch: Any) -> str:
    """CUDA's own words, which name the driver's version where that is too old."""
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0].rstrip(".") or "CUDA can't be initialised"
    value = os.environ.get(VISIBLE)
    listed = f"; {VISIBLE} is {value!r}" if value else ""
    return f"CUDA finds no device{listed}; `nvidia-smi -L` lists the GPUs that the driver knows"
