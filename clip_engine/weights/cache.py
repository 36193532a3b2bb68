"""A cache of published weights that processes share.

It has the folder and the file names of OpenAI's own package, `~/.cache/clip`, and uses files that
are already there.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clip_engine.errors import DownloadError
from clip_engine.weights.checksum import is_verified, note_verified, sha256_of
from clip_engine.weights.download import Transfer
from clip_engine.weights.http import split_login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clip_engine.weights.catalog import Published
    from clip_engine.weights.download import Pause, Progress

_LOG = logging.getLogger(__name__)


def default_cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The default cache folder, `~/.cache/clip`.

    Args:
        environ: The environment; None for this process's.
    """
    home = (os.environ if environ is None else environ).get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "clip"


def part_of(path: Path) -> Path:
    """The path of a file's partial download, which is renamed once it is complete and verified."""
    return path.with_name(path.name + ".part")


def fetch_weights(  # noqa: PLR0913  # all but two have a default
    published: Published,
    cache_dir: Path,
    *,
    mirror: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    pause: Pause = time.sleep,
) -> Path:
    """The path of a model's weights, which are downloaded and verified if they aren't cached.

    If several processes need the same weights, one downloads them and the others wait.

    Args:
        published: The model.
        cache_dir: The cache folder; created if necessary.
        mirror: Base URL of a copy of the publisher's files, laid out as `<sha256>/<file>`. A user
            name and password in it are sent with HTTP basic authentication.
        offline: Whether downloads are forbidden.
        progress: Called with the bytes done and the total, which is None if unknown.
        pause: Sleeps for a number of seconds between attempts.

    Raises:
        DownloadError: The network fails, the file doesn't exist, the disk is full, the cache can't
            be written, the checksum is wrong, or the weights aren't cached and `offline` is set.
    """
    cached = _CachedWeights(published, cache_dir / published.filename)
    url, login = split_login(published.mirrored(mirror) if mirror else published.url)
    transfer = Transfer(url, cached.part, progress or _no_progress, pause, login)
    try:
        return cached.path if cached.is_valid() else cached.obtain(transfer, offline=offline)
    except DownloadError:
        raise
    except (OSError, NotImplementedError) as error:  # the latter if locks aren't supported
        raise _disk_error(cached.path, error) from error


@dataclass(frozen=True, slots=True)
class _CachedWeights:
    published: Published
    path: Path

    @property
    def part(self) -> Path:
        return part_of(self.path)

    def is_valid(self) -> bool:
        return is_verified(self.path, self.published.sha256)

    def obtain(self, transfer: Transfer, *, offline: bool) -> Path:
        """Download while holding the lock, unless another process has done so meanwhile."""
        if offline:
            state = "has a wrong checksum" if self.path.exists() else "doesn't exist"
            raise DownloadError(
                f"{self.path} {state}, and downloads are disabled; download {transfer.url} "
                "elsewhere and put it there."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self.is_valid():
                self._fetch(transfer)
        return self.path

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            # A warning, so that it is shown by default: the start may take minutes.
            _LOG.warning("Waiting for another process that is downloading %s.", self.path.name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, transfer: Transfer) -> None:
        if self.path.exists():
            _LOG.warning("%s has a wrong checksum; downloading it again.", self.path)
        resumed = self.part.exists()
        digest = self._transferred_digest(transfer)
        if resumed and digest != self.published.sha256:
            _LOG.warning(
                "%s can't be resumed, because it holds other bytes; starting over.", self.part
            )
            self.part.unlink()
            digest = self._transferred_digest(transfer)
        if digest != self.published.sha256:
            self.part.unlink()
            raise DownloadError(
                f"{transfer.url} has the SHA-256 {digest} instead of {self.published.sha256}, and "
                "was discarded; check proxies on the way and try again, or use another mirror."
            )
        _publish(self.part, self.path)
        note_verified(self.path, self.published.sha256)

    def _transferred_digest(self, transfer: Transfer) -> str:
        transfer.run()
        return sha256_of(self.part)


def _publish(part: Path, path: Path) -> None:
    """Rename a complete file durably: after a power failure it is either complete or absent."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _disk_error(path: Path, error: Exception) -> DownloadError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            f"The disk of {path.parent} is full ({reason}); free some space and try again, which "
            "resumes the download."
        )
    return DownloadError(
        f"{path.parent} can't be used as a cache ({reason}); choose a folder that this user can "
        "write to."
    )


def _no_progress(_done_bytes: int, _total_bytes: int | None) -> None:
    """The default: no report."""
