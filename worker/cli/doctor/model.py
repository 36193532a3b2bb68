"""Checks the model: whether its files are here and intact, and fit into memory."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clip_engine.errors import ClipEngineError, DownloadError, ModelNotFoundError
from clip_engine.families.recognise import recognise
from clip_engine.formats.find_weights import find_weights
from clip_engine.weights.cache import default_cache_dir
from clip_engine.weights.catalog import PUBLISHED
from clip_engine.weights.checksum import recomputed_digest
from clip_engine.weights.hub_checksums import damaged_files
from clip_engine.weights.locate import locate_model
from worker.cli.doctor.amounts import shown_bytes
from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning
from worker.runtime.memory_limit import memory_left

if TYPE_CHECKING:
    from clip_engine.weights.located import LocatedModel
    from worker.settings import Settings

CONNECT_S = 5.0
HUB = "https://huggingface.co"
COPIES = 2.5  # of the weights, while a model is loaded and prepared


def check_files(settings: Settings) -> Finding:
    """Whether the files are here with the right hash, or can be downloaded."""
    name = settings.model
    if name in PUBLISHED:
        path = _folder(settings) / PUBLISHED[name].filename
        return _hashed(settings, path) if path.exists() else _absent(settings)
    try:
        located = locate_model(name, settings.cache_dir, offline=True)
        family = recognise(located)
    except DownloadError:
        return _absent(settings)
    except ModelNotFoundError as error:
        return problem(str(error), "Correct CLIP_WORKER_MODEL; `clip-worker models list` helps.")
    except ClipEngineError as error:
        return problem(
            f"The model {name!r} can't be loaded. {error}", "Mend its files, or take another model."
        )
    if damaged := _damaged(located):
        return problem(
            f"{damaged} is damaged: its hash is wrong.",
            f"Delete it and run `clip-worker models download {name}`.",
        )
    verified = "" if located.revision is None else ", with the right hashes"
    return ok(f"The model {name!r} ({family.name}) is at {located.path}{verified}.")


def check_size(settings: Settings) -> Finding:
    """Whether the weights fit into memory."""
    size = _weights_bytes(settings)
    left = memory_left()
    if size is None or left is None:
        return skipped("The size of the model, or of the memory, is not known yet.")
    workers = settings.workers or 1
    found = (
        f"The weights take {shown_bytes(size)} on disk, and {shown_bytes(left)} of memory are left "
        f"for {workers} worker{'' if workers == 1 else 's'}."
    )
    if COPIES * size * workers > left:
        return problem(found, "Raise the memory limit, run fewer workers, or take a smaller model.")
    return ok(found)


def _folder(settings: Settings) -> Path:
    return settings.cache_dir or default_cache_dir()


def _hashed(settings: Settings, path: Path) -> Finding:
    expected = PUBLISHED[settings.model].sha256
    try:
        digest = recomputed_digest(path, expected)
    except OSError as error:
        return problem(f"{path} can't be read ({error.strerror}).", "Mend its permissions.")
    if digest != expected:
        return problem(
            f"{path} is damaged: its SHA-256 is {digest[:12]}... instead of {expected[:12]}...",
            f"Run `clip-worker models download {settings.model}`.",
        )
    return ok(f"The model {settings.model!r} is at {path}, with the right SHA-256.")


def _absent(settings: Settings) -> Finding:
    name, fetch = settings.model, f"Run `clip-worker models download {settings.model}`"
    if settings.offline:
        return problem(
            f"The model {name!r} is not in the cache, and CLIP_WORKER_OFFLINE forbids downloading.",
            f"{fetch} where the network can be reached, and copy the cache here.",
        )
    url = (settings.mirror or PUBLISHED[name].url) if name in PUBLISHED else HUB
    host = urlsplit(url).hostname or url
    if error := _unreachable(url):
        return problem(
            f"The model {name!r} is not in the cache, and {host} can't be reached ({error}).",
            "Allow connections to it, set CLIP_WORKER_MIRROR or HF_ENDPOINT, or copy the cache "
            "from another machine.",
        )
    return warning(
        f"The model {name!r} is not in the cache; the first start downloads it from {host}.",
        f"{fetch}, so that a start takes seconds.",
    )


def _unreachable(url: str) -> str | None:
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _damaged(located: LocatedModel) -> Path | None:
    if located.revision is None:
        return None
    folder = located.path if located.path.is_dir() else located.path.parent
    folders = (folder, *located.companions.values())
    return next((path for one in folders for path in damaged_files(one)), None)


def _weights_bytes(settings: Settings) -> int | None:
    if settings.model in PUBLISHED:
        path = _folder(settings) / PUBLISHED[settings.model].filename
        return path.stat().st_size if path.exists() else None
    try:
        located = locate_model(settings.model, settings.cache_dir, offline=True)
        found = find_weights(located.path)
    except ClipEngineError:
        return None
    return found.stat().st_size
