"""Downloads models from the Hugging Face hub by `huggingface_hub`, an optional dependency.

Its cache, tokens, mirror and offline mode count: HF_HOME and HF_HUB_CACHE, HF_TOKEN or
`hf auth login`, HF_ENDPOINT, HF_HUB_OFFLINE. Processes that need the same file wait for one
download. What is complete in the cache is used without a request, so that all workers of a cache
run one commit, until `refresh` asks the hub whether a branch has moved.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_engine.errors import DownloadError
from clip_engine.weights.hub_errors import not_cached, translated
from clip_engine.weights.layouts import SMALL_FILES

if TYPE_CHECKING:
    from clip_engine.weights.download import Progress

ANSWER_TIMEOUT_S = 30.0

Choose = Callable[[Collection[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub, and the files of it that are needed.

    Attributes:
        name: Such as `openai/clip-vit-base-patch32`.
        revision: A branch, tag or commit; None for the default branch.
        choose: Picks the files that are needed from the names of all files; the small ones of
            `SMALL_FILES` are downloaded anyway. Empty if the repository doesn't have them.
        content: What they are, for messages.
    """

    name: str
    revision: str | None
    choose: Choose
    content: str = "weights"

    def cached(self) -> Path | None:
        """The folder of the files, if all of them are in the cache; no request is made."""
        from huggingface_hub import try_to_load_from_cache

        names = _listed(self.name, self.revision)
        chosen = self.choose(names or ())
        if not names or not chosen:
            return None
        wanted = {*chosen, *SMALL_FILES} & set(names)
        paths = [try_to_load_from_cache(self.name, one, revision=self.revision) for one in wanted]
        found = [Path(path) for path in paths if isinstance(path, str)]
        return found[0].parent if len(found) == len(wanted) else None

    def fetch(
        self, *, offline: bool = False, refresh: bool = False, progress: Progress | None = None
    ) -> Path:
        """The folder of the files, which are downloaded if they aren't in the cache.

        The folder's name is the commit.

        Raises:
            ModelNotFoundError: There is no such repository or revision, or it has no such files.
            DownloadError: It can't be read, or isn't in the cache and `offline` is set.
        """
        from huggingface_hub import HfApi, is_offline_mode

        offline = offline or is_offline_mode()
        with translated(self.name, self.revision), _without_request_lines():
            if (offline or not refresh) and (folder := self.cached()):
                return folder
            if not offline:  # fails if nobody answers; what follows would wait without a limit
                HfApi().model_info(self.name, revision=self.revision, timeout=ANSWER_TIMEOUT_S)
            return self._download(offline=offline, progress=progress)

    def _download(self, *, offline: bool, progress: Progress | None) -> Path:
        from huggingface_hub import snapshot_download

        class Bar(_silent_bar()):  # type: ignore[misc]  # of the class that is imported then
            bars = _ByteBars(progress)

        def download(files: list[str], revision: str | None) -> Path:
            folder = snapshot_download(
                self.name,
                revision=revision,
                allow_patterns=files,
                local_files_only=offline,
                tqdm_class=Bar,
            )
            return Path(folder)

        folder = download(list(SMALL_FILES), self.revision)
        names = _listed(self.name, folder.name)
        chosen = self.choose(names or [path.name for path in folder.iterdir()])
        if not chosen:
            raise self._nothing(names)
        return download(chosen, folder.name)

    def _nothing(self, names: Collection[str] | None) -> DownloadError:
        if names is None:  # the hub was not asked, or didn't answer
            return not_cached(self.name, self.revision)
        some = ", ".join(sorted(names)[:5]) or "no files"
        return DownloadError(
            f"The repository {self.name!r} has no {self.content} that this package reads (it has "
            f"{some}); give one with a config.json or open_clip_config.json and weights beside it."
        )


@contextmanager
def _without_request_lines() -> Iterator[None]:
    """Leave out the lines that httpx logs for each request, with signed URLs in them."""
    loggers = [logging.getLogger(name) for name in ("httpx", "httpx2")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _listed(repository: str, revision: str | None) -> list[str] | None:
    """The names of a repository's files as the cache knows them; None if it doesn't."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [file.path for file in get_cached_repo_tree(repository, revision=revision)]
    except CachedRepoTreeNotFoundError:
        return None


class _ByteBars:
    """Reports what the furthest of a download's progress bars says; there are two at a time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._furthest = 0.0
        self._lock = threading.Lock()

    def report(self, done_bytes: float, total_bytes: float | None) -> None:
        with self._lock:
            if self._progress is None or done_bytes <= self._furthest:
                return
            self._furthest = done_bytes
            self._progress(int(done_bytes), int(total_bytes) if total_bytes else None)


def _silent_bar() -> Any:
    """A progress bar as `huggingface_hub` wants it, which reports bytes and prints nothing."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # as their guides do

    class SilentBar(tqdm):
        bars: _ByteBars

        def __init__(self, *args: Any, **options: Any) -> None:
            self._is_bytes = options.get("unit") == "B"
            self._done = float(options.get("initial") or 0)
            super().__init__(*args, **options | {"disable": True})  # type: ignore[no-untyped-call]  # tqdm's

        def update(self, n: float | None = 1) -> None:
            if self._is_bytes:
                self._done += n or 0
                self.bars.report(self._done, self.total)

    return SilentBar
