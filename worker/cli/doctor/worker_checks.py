"""The checks that need the worker's packages: they are skipped where only the client is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from worker.cli.doctor.check import Check
from worker.cli.doctor.finding import Finding, skipped

if TYPE_CHECKING:
    from worker.cli.doctor.subject import Subject

HASHING_S = 120.0
# Group and name to module and function, which take the settings. They are imported when they run:
# they load torch, or the engine.
LOOKS = {
    ("model", "files"): ("model", "check_files"),
    ("model", "size"): ("model", "check_size"),
    ("device", "device"): ("device", "check_device"),
    ("device", "processor"): ("processor", "check_processor"),
    ("machine", "cache folder"): ("machine", "check_cache_folder"),
    ("machine", "temporary folder"): ("machine", "check_temporary_folder"),
    ("machine", "shared memory"): ("machine", "check_shared_memory"),
    ("machine", "image memory"): ("machine", "check_image_memory"),
    ("machine", "open files"): ("machine", "check_open_files"),
    ("machine", "file roots"): ("machine", "check_file_roots"),
    ("embeddings", "store"): ("embeddings", "check_store"),
    ("embeddings", "budget"): ("embeddings", "check_budget"),
}


def worker_checks(subject: Subject) -> list[Check]:
    """Checks of the model, the device, the machine and the store of embeddings."""
    return [
        Check(group, name, _with_settings(subject, module, function), HASHING_S)
        for (group, name), (module, function) in LOOKS.items()
    ]


def _with_settings(subject: Subject, module: str, function: str) -> Callable[[], Finding]:
    def look() -> Finding:
        if subject.missing:
            return skipped(f"{subject.missing}.")
        if isinstance(subject.settings, str):
            return skipped("The settings are invalid, see the group `settings`.")
        check: Any = getattr(import_module(f"worker.cli.doctor.{module}"), function)
        found: Finding = check(subject.settings)
        return found

    return look
