"""Published weights, fetched once into a cache that processes share.

The cache is the one of OpenAI's own package, `~/.cache/clip`, with its file names, so what is there
already is used.
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
    """Where weights are kept unless somebody says otherwise: `~/.cache/clip`.

    Args:
        environ: The environment; None for this process's.
    """
    home = (os.environ if environ is None else environ).get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "clip"


def part_of(path: Path) -> Path:
    """Where the bytes of a file gather until all have come and are verified."""
    return path.with_name(path.name + ".part")


def fetch_weights(  # noqa: PLR0913 - all but two have a default that serves
    published: Published,
    cache_dir: Path,
    *,
    mirror: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    pause: Pause = time.sleep,
) -> Path:
    """The path of a model's weights, fetched and verified if they are not in the cache.

    Of several processes that ask at once, one fetches and the others wait for it.

    Args:
        published: Which weights.
        cache_dir: Where they are kept; made if need be.
        mirror: Base URL of a copy of the publisher's files, laid out as `<sha256>/<file>`;
            a name and a password in it are sent as HTTP's basic authentication.
        offline: Whether to stay off the network.
        progress: Told of the bytes done and the bytes in all, None where that is unknown.
        pause: Waits so many seconds between attempts.

    Raises:
        DownloadError: No network, no such file, a full disk, a cache that can't be written, other
            bytes than were published, or `offline` and not in the cache.
    """
    cached = _CachedWeights(published, cache_dir / published.filename)
    url, login = split_login(published.mirrored(mirror) if mirror else published.url)
    transfer = Transfer(url, cached.part, progress or _no_progress, pause, login)
    try:
        return cached.path if cached.is_valid() else cached.obtain(transfer, offline=offline)
    except DownloadError:
        raise
    except (OSError, NotImplementedError) as error:  # the latter: no locks on this file system
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
        """Fetch under the lock, unless another process has done so meanwhile."""
        if offline:
            state = "has other bytes than were published" if self.path.exists() else "is not there"
            raise DownloadError(
                f"{self.path} {state} and the network is switched off; fetch {transfer.url} "
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
            # A warning, for it is seen without any set-up, and a start that stands still needs it.
            _LOG.warning("Another process is fetching %s; waiting for it.", self.path.name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, transfer: Transfer) -> None:
        if self.path.exists():
            _LOG.warning("%s has other bytes than were published and is fetched anew.", self.path)
        resumed = self.part.exists()
        digest = self._transferred_digest(transfer)
        if resumed and digest != self.published.sha256:
            _LOG.warning("%s was begun with other bytes and is fetched from the start.", self.part)
            self.part.unlink()
            digest = self._transferred_digest(transfer)
        if digest != self.published.sha256:
            self.part.unlink()
            raise DownloadError(
                f"{transfer.url} gave bytes with the SHA-256 {digest} instead of "
                f"{self.published.sha256}, so they were thrown away; see what stands between (a "
                "proxy, a mirror) and try again, or name another mirror."
            )
        _publish(self.part, self.path)
        note_verified(self.path, self.published.sha256)

    def _transferred_digest(self, transfer: Transfer) -> str:
        transfer.run()
        return sha256_of(self.part)


def _publish(part: Path, path: Path) -> None:
    """Give a whole file its name, so that a power failure leaves it whole or not there."""
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
            f"The disk of {path.parent} is full ({reason}); make room and start again: what has "
            "come is kept."
        )
    return DownloadError(
        f"{path.parent} can't be used as a cache ({reason}); name a folder that this user may "
        "write."
    )


def _no_progress(_done_bytes: int, _total_bytes: int | None) -> None:
    """Report to nobody."""
