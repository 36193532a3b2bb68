"""Downloads a file over HTTP to a `.part` file, and resumes interrupted downloads."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import urllib3
from urllib3.exceptions import HTTPError

from clip_engine.errors import DownloadError
from clip_engine.weights.http import open_pool

if TYPE_CHECKING:
    import io
    from pathlib import Path

# Bytes received, and the total where the server states it.
Progress = Callable[[int, int | None], None]
Pause = Callable[[float], None]

_LOG = logging.getLogger(__name__)
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # between five attempts
_TIMEOUT = urllib3.Timeout(connect=10.0, read=30.0)
_REDIRECTS_ONLY = urllib3.Retry(total=5, connect=0, read=0, status=0, other=0)
_READ_BYTES = 1024 * 1024
_BUSY = frozenset({408, 425, 429})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _RetryableError(Exception):
    """An attempt failed, but another one may succeed."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A download from a URL to a `.part` file.

    Attributes:
        url: Of the file.
        part: Where to write it. Bytes that are already there aren't downloaded again.
        progress: Called as bytes are received.
        pause: Sleeps for a number of seconds between attempts.
        headers: Sent with every request. Secrets belong here, because the URL is shown in messages.
    """

    url: str
    part: Path
    progress: Progress
    pause: Pause
    headers: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Download the file, in up to five attempts.

        Raises:
            DownloadError: The server has no such file, can't be reached, or fails every time.
            OSError: The file can't be written; never for errors of the network.
        """
        with open_pool(self.url) as pool:
            for pause_s in _PAUSES_S:
                try:
                    return self._attempt(pool)
                except (_RetryableError, HTTPError) as error:
                    _LOG.info("Download of %s failed, will retry: %s", self.url, error)
                    self.pause(pause_s)
            try:
                return self._attempt(pool)
            except (_RetryableError, HTTPError) as error:
                reason = getattr(error, "reason", error)  # of urllib3's "max retries exceeded"
                raise DownloadError(
                    f"{self.url} can't be downloaded in {len(_PAUSES_S) + 1} attempts ({reason}); "
                    f"check the network, use a mirror, or put the file at {self._target} yourself."
                ) from error

    @property
    def _target(self) -> Path:
        return self.part.with_suffix("")

    def _attempt(self, pool: urllib3.PoolManager) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with contextlib.closing(
            pool.request(
                "GET",
                self.url,
                headers=headers,
                preload_content=False,
                retries=_REDIRECTS_ONLY,
                timeout=_TIMEOUT,
            )
        ) as response:
            if response.status == 416 and have and _whole_bytes(response) == have:
                return  # the download was complete but not verified yet
            self._append(response, self._start(response, have))

    def _start(self, response: urllib3.BaseHTTPResponse, have: int) -> int:
        """The offset in the file at which the response's body begins.

        Raises:
            DownloadError: The status shows that another attempt would fail as well.
        """
        status = response.status
        if status == 200:
            return 0  # the server doesn't support ranges
        if status == 206 and _first_byte(response) == have:
            return have
        if status in (206, 416):
            self.part.unlink(missing_ok=True)  # of another file, or longer than the whole file
            raise _RetryableError(f"status {status} does not continue at byte {have}")
        if status >= 500 or status in _BUSY:
            raise _RetryableError(f"status {status}")
        raise DownloadError(
            f"{self.url} returned status {status}; check the URL or the mirror, or put "
            f"the file at {self._target} yourself."
        )

    def _append(self, response: urllib3.BaseHTTPResponse, start: int) -> None:
        total = _whole_bytes(response)
        self._check_space((total or start) - start)
        done = start
        # Unbuffered, so that received bytes survive if the process is killed.
        with self.part.open("r+b" if start else "wb", buffering=0) as file:
            file.seek(start)
            while piece := response.read1(_READ_BYTES, decode_content=False):
                _write_all(file, piece)
                done += len(piece)
                self.progress(done, total)
        if total is not None and done < total:
            raise _RetryableError(f"only {done} of {total} bytes were received")

    def _check_space(self, needed_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self.part.parent).free
        if needed_bytes > free_bytes:
            raise OSError(errno.ENOSPC, f"{needed_bytes} bytes needed, {free_bytes} free")


def _write_all(file: io.FileIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _first_byte(response: urllib3.BaseHTTPResponse) -> int | None:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[1]) if match and match[1] else None


def _whole_bytes(response: urllib3.BaseHTTPResponse) -> int | None:
    if response.status == 200:
        return response.length_remaining
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[2]) if match and match[2] != "*" else None
