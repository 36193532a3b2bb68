"""Checks a store of embeddings in Lance, in a folder or a bucket."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from clip_worker.errors import ClipWorkerError
from clip_worker.quoting import quote, redacted, without_password
from worker.cli.doctor.amounts import shown_bytes
from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning
from worker.embeddings.lance_store import LanceStore

LEAST_FREE_BYTES = 1 << 30  # a million embeddings of ViT-B/32
CORRECT = "correct CLIP_WORKER_EMBEDDING_STORE"
CORRECT_FOLDER = (
    f"Mount the folder and give this user the right to read and write it, or {CORRECT} "
    "(lance:///path)."
)


def check_lance_store(place: str) -> Finding:
    """Whether the extra is installed, and the store can be opened; a folder also written.

    Args:
        place: A folder, or a URL.
    """
    if find_spec("lancedb") is None:
        return problem(
            f"The store of embeddings {_shown(place)} needs the module lancedb, which is not "
            "installed.",
            'Run pip install "clip-worker[lancedb]", or unset CLIP_WORKER_EMBEDDING_STORE.',
        )
    if "://" in place:
        return _opened(place, "it can be read; writing was not tried")
    return _check_folder(Path(place))


def check_lance_space(place: str) -> Finding:
    """How much space is left where embeddings are kept without a budget."""
    if "://" in place:
        return ok("A store in Lance has no budget: a bucket grows with each new image.")
    try:
        free = shutil.disk_usage(_existing(Path(place))).free
    except OSError as error:
        return skipped(f"The free space at {_shown(place)} is not known ({error.strerror}).")
    found = f"A store in Lance has no budget, and its disk has {shown_bytes(free)} left."
    if free < LEAST_FREE_BYTES:
        return warning(found, f"Free disk space, or {CORRECT}.")
    return ok(found)


def _check_folder(folder: Path) -> Finding:
    try:
        there = _existing(folder)
        if not there.is_dir():
            return problem(
                f"{_shown(there)} is not a folder, so it can't keep embeddings.", CORRECT_FOLDER
            )
        with tempfile.TemporaryFile(dir=there) as file:  # gone again before anybody sees it
            file.write(b"x")
    except OSError as error:
        return problem(
            f"The folder {_shown(folder)} can't be written ({error.strerror}).", CORRECT_FOLDER
        )
    if there != folder:
        return ok(f"The folder {_shown(folder)} is made when the first embedding is stored.")
    return _opened(str(folder), "it can be read and written")


def _opened(place: str, how: str) -> Finding:
    try:
        with closing(LanceStore(place)) as store:
            count = sum(store.count(space) for space in store.spaces())
    except ClipWorkerError as error:
        found = redacted(str(error).rpartition("; ")[0]).rstrip(".")
        return problem(
            f"{found}.",
            "Check that it can be reached, its region, its credentials (AWS_*) and its rights, or "
            f"{CORRECT}."
            if "://" in place
            else CORRECT_FOLDER,
        )
    return ok(f"Embeddings in the store {_shown(place)}: {count:,}; {how}.")


def _existing(folder: Path) -> Path:
    """The folder, or the first one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _shown(place: str | Path) -> str:
    return quote(without_password(str(place)))
