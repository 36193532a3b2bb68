"""Images from the web, fetched on behalf of untrusted users.

The host of each hop is resolved once, all its addresses are checked, and the connection goes to a
checked address. This prevents DNS rebinding and redirects to internal addresses.
"""

from __future__ import annotations

import io
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from clip_worker.contract.http_url import HttpUrl
from clip_worker.contract.uri_errors import too_large
from clip_worker.errors import ImageUnavailableError, InvalidRequestError
from clip_worker.quoting import quote, redacted, shown_uri
from clip_worker.version import __version__
from worker.sources.deadline import Deadline
from worker.sources.http_connection import Dialer
from worker.sources.http_errors import status_error, translated_errors
from worker.sources.reservation import FIRST_BYTES, Reserve, unlimited
from worker.sources.retry_after import retry_after_s

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from worker.sources.deadline import Clock
    from worker.sources.policy import FetchLimits
    from worker.sources.ssrf_guard import AddressGuard

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BYTES = 256 * 1024


class HttpSource:
    """Fetches `http:` and `https:` URIs. Thread-safe.

    Args:
        limits: Limits of size, time and redirects.
        guard: Resolves hosts and checks their addresses.
        ssl_context: Verifies certificates and host names.
        clock: Monotonic seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        limits: FetchLimits,
        guard: AddressGuard,
        ssl_context: ssl.SSLContext,
        clock: Clock,
        now: Clock = time.time,
    ) -> None:
        self._limits = limits
        self._guard = guard
        self._dialer = Dialer(ssl_context, limits.connect_s)
        self._clock = clock
        self._now = now

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Fetch a URL's body, following redirects.

        Raises:
            InvalidRequestError: `BAD_URI`.
            ImageUnavailableError: `FETCH_<status>` for 4xx, 501 and 505, `FETCH_FORBIDDEN_ADDRESS`,
                `FETCH_TOO_LARGE`, `FETCH_TOO_MANY_REDIRECTS`, `FETCH_BAD_REDIRECT`,
                `FETCH_CONTENT_ENCODING`, `FETCH_UNKNOWN_HOST`, `FETCH_TLS`.
            TemporaryError: `FETCH_TIMEOUT`, `FETCH_CONNECTION`, `FETCH_<status>` for other 5xx,
                408, 425 and 429, with the server's Retry-After.
        """
        url = HttpUrl.parse(uri)
        deadline = Deadline.after(self._limits.total_s, self._clock)
        with translated_errors(uri):
            for _ in range(self._limits.max_redirects + 1):
                with self._get(url, deadline) as response:
                    location = _location(response)
                    if location is None:
                        return self._body(uri, response, reserve)
                url = _next_url(url, location)
        raise ImageUnavailableError(
            f"{shown_uri(uri)} redirects more than {self._limits.max_redirects} times; use the "
            "URL of the image itself.",
            "FETCH_TOO_MANY_REDIRECTS",
        )

    @contextmanager
    def _get(self, url: HttpUrl, deadline: Deadline) -> Iterator[BaseHTTPResponse]:
        with ExitStack() as cleanup:
            addresses = self._guard.permitted_addresses(url)
            connection = self._dialer.dial(url, addresses, deadline, cleanup)
            connection.request("GET", url.target, headers=_headers(url), preload_content=False)
            yield cleanup.enter_context(closing(connection.getresponse()))

    def _body(self, uri: str, response: BaseHTTPResponse, reserve: Reserve) -> bytes:
        if response.status not in (200, 203):
            asked_s = retry_after_s(response.headers.get("Retry-After"), self._now())
            raise status_error(uri, response.status, asked_s)
        _check_encoding(uri, response)
        limit = self._limits.max_bytes
        length = response.length_remaining
        if length is not None:
            if length > limit:
                raise too_large(uri, limit)
            reserve(length)
        body = io.BytesIO()  # getvalue() makes no copy
        # Not stream(): it reads the line with a chunk's size without any limit.
        while piece := response.read(_READ_BYTES, decode_content=False):
            if body.tell() + len(piece) > limit:
                raise too_large(uri, limit)
            if length is None and body.tell() + len(piece) > FIRST_BYTES:
                reserve(limit)  # the body may become that long
            body.write(piece)
        return body.getvalue()


def _headers(url: HttpUrl) -> dict[str, str]:
    return {
        "Host": url.host_header,
        "User-Agent": f"clip-worker/{__version__}",
        "Accept": "image/*, */*;q=0.5",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def _location(response: BaseHTTPResponse) -> str | None:
    return response.headers.get("Location") if response.status in _REDIRECTS else None


def _next_url(url: HttpUrl, location: str) -> HttpUrl:
    try:
        # Header bytes are decoded as Latin-1; unescaped characters are UTF-8 in practice.
        target = url.join(location.encode("latin-1", "replace").decode("utf-8", "replace"))
    except InvalidRequestError as error:
        raise _bad_redirect(url, location) from error
    if url.scheme == "https" and target.scheme == "http":
        raise _bad_redirect(url, location)
    return target


def _bad_redirect(url: HttpUrl, location: str) -> ImageUnavailableError:
    return ImageUnavailableError(
        f"{shown_uri(str(url))} redirects to {shown_uri(location)}, which is not followed: only "
        "redirects to valid http and https URLs are, and not from https to http.",
        "FETCH_BAD_REDIRECT",
    )


def _check_encoding(uri: str, response: BaseHTTPResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        # Not decompressed, because of decompression bombs.
        raise ImageUnavailableError(
            f"The server of {shown_uri(uri)} used the content encoding "
            f"{quote(redacted(encoding, uri))}, although only 'identity' was accepted.",
            "FETCH_CONTENT_ENCODING",
        )
