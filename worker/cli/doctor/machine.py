"""Checks the machine or container: folders, memory and limits."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from clip_engine.weights.cache import default_cache_dir
from worker.cli.doctor.amounts import shown_bytes
from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning
from worker.preparation.shared_images import SharedImages
from worker.runtime.assembly import image_memory_bytes
from worker.runtime.cores import cores
from worker.runtime.memory_limit import memory_left

if TYPE_CHECKING:
    from worker.settings import Settings

LEAST_DISK_BYTES = 2 << 30  # for the weights of a large model
FILES_OF_A_WORKER = 192  # connections to Redis, libraries, pipes, sockets of webhooks
FILES_OF_A_PROCESS = 4
RESOLUTION = 336  # of the largest published model
LEAST_IMAGE_MEMORY_BYTES = 256 << 20


def check_cache_folder(settings: Settings) -> Finding:
    """Whether models can be kept, with room for one."""
    folder = settings.cache_dir or default_cache_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return warning(
            f"{folder} can't be written by this user; models that are there already work.",
            "Give the user (in containers also group 0) the right to write, or set "
            "CLIP_WORKER_CACHE_DIR.",
        )
    free = shutil.disk_usage(there).free
    found = f"{folder} can be written, and {shown_bytes(free)} are free."
    if free < LEAST_DISK_BYTES:
        return warning(found, "Free disk space, or set CLIP_WORKER_CACHE_DIR to a larger disk.")
    return ok(found)


def check_temporary_folder(settings: Settings) -> Finding:
    """Whether workers can share out the GPUs of this host, which they do by lock files."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
    except OSError as error:
        sentence = f"No temporary folder can be written ({error.strerror})."
        remedy = "Mount a writable /tmp (a tmpfs is enough), or set TMPDIR."
        needs_locks = settings.device in ("auto", "cuda")
        return problem(sentence, remedy) if needs_locks else warning(sentence, remedy)
    return ok(f"{tempfile.gettempdir()} can be written.")


def check_shared_memory(settings: Settings) -> Finding:
    """Whether the memory that processes share for pixels can be had; it needs no /dev/shm."""
    slots = 4 * settings.largest_batch
    try:
        images = SharedImages.create(slots, RESOLUTION, 1)
    except OSError as error:
        return problem(
            f"Memory for {slots} images can't be shared between processes ({error.strerror}).",
            "Allow memfd_create in the container's seccomp profile, and raise its memory limit.",
        )
    images.close()
    return ok(f"Memory for {slots} images can be shared between processes.")


def check_image_memory(settings: Settings) -> Finding:
    """Whether enough memory is left for images in flight."""
    left, wanted = memory_left(), image_memory_bytes(settings)
    if left is None:
        return skipped("This system doesn't tell how much memory is left.")
    found = f"{shown_bytes(wanted)} for images in flight, of {shown_bytes(left)} that are left."
    if wanted > left:
        return problem(found, "Lower CLIP_WORKER_IMAGE_MEMORY_BYTES, or raise the memory limit.")
    if wanted < LEAST_IMAGE_MEMORY_BYTES:
        return warning(found, "Raise the memory limit: large images wait for memory, or fail.")
    return ok(found)


def check_open_files(settings: Settings) -> Finding:
    """Whether a worker may open as many files as it can need."""
    processes = settings.preparation_processes or cores(settings.workers)
    needed = FILES_OF_A_WORKER + settings.fetch_threads + FILES_OF_A_PROCESS * processes
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return ok(f"There is no limit of open files; a worker needs up to {needed}.")
    found = f"A process may open {limit} files; a worker needs up to {needed}."
    if limit < needed:
        return problem(found, "Raise the limit: ulimit -n, LimitNOFILE= or --ulimit nofile=.")
    return ok(found)


def check_file_roots(settings: Settings) -> Finding:
    """Whether the folders that `file:` URIs may lie below are there."""
    roots = settings.file_roots
    if not roots:
        return ok("CLIP_WORKER_FILE_ROOTS is unset, so file: URIs are refused.")
    bad = [str(root) for root in roots if not _is_readable(root)]
    if bad:
        return problem(
            f"{', '.join(bad)} of CLIP_WORKER_FILE_ROOTS can't be read, or is no folder.",
            "Mount the folder and let this user read it, or correct CLIP_WORKER_FILE_ROOTS.",
        )
    return ok(f"{len(roots)} folder{'' if len(roots) == 1 else 's'} for file: URIs can be read.")


def _is_readable(root: Path) -> bool:
    return root.is_dir() and os.access(root, os.R_OK | os.X_OK)
