"""Translates errors of HTTP to those of `clip_worker.errors`."""

from __future__ import annotations

import http.client
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from clip_worker.errors import ClipWorkerError, ImageUnavailableError, TemporaryError
from clip_worker.quoting import shown_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

# 4xx that may not recur: time-out, too early, too many requests.
_TEMPORARY_4XX = frozenset({408, 425, 429})
# 5xx that will recur: not implemented, HTTP version not supported.
_PERMANENT_5XX = frozenset({501, 505})


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Translate errors of urllib3, ssl and sockets to errors that name the URI.

    Raises:
        TemporaryError: `FETCH_TIMEOUT`, `FETCH_CONNECTION`.
        ImageUnavailableError: `FETCH_TLS`: the certificate is not valid for the host.
    """
    try:
        yield
    except NewConnectionError as error:  # before time-outs, of which it is a subclass
        raise _no_connection(uri) from error
    except (TimeoutError, Urllib3TimeoutError) as error:
        raise TemporaryError(
            f"The server of {shown_uri(uri)} did not send the image in time.", "FETCH_TIMEOUT"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ImageUnavailableError(
            f"The server of {shown_uri(uri)} has no valid certificate for its name: "
            f"{error.verify_message}.",
            "FETCH_TLS",
        ) from error
    except (HTTPError, http.client.HTTPException, OSError) as error:
        raise _no_connection(uri) from error


def status_error(uri: str, status: int, retry_after_s: float | None = None) -> ClipWorkerError:
    """The error for a status other than success, with the code `FETCH_<status>`.

    Args:
        uri: URI of the image.
        status: Status of the response.
        retry_after_s: Seconds in the server's Retry-After, if any.
    """
    message = f"The server of {shown_uri(uri)} answered with status {status}."
    if not may_pass(status):
        return ImageUnavailableError(message, f"FETCH_{status}")
    error = TemporaryError(message, f"FETCH_{status}")
    error.retry_after_s = retry_after_s
    return error


def may_pass(status: int) -> bool:
    """Whether a request that failed with this status may succeed later."""
    return status in _TEMPORARY_4XX or (status >= 500 and status not in _PERMANENT_5XX)


def _no_connection(uri: str) -> TemporaryError:
    return TemporaryError(
        f"The server of {shown_uri(uri)} can't be reached, or closed the connection.",
        "FETCH_CONNECTION",
    )
