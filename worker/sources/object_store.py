"""Images in S3, Google Cloud Storage, Azure and other stores that fsspec supports.

fsspec is an optional extra. Credentials and endpoints come from the environment or fsspec's own
configuration files, never from a URI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_worker.contract.uri import scheme_of
from clip_worker.contract.uri_errors import bad_uri, too_large
from clip_worker.errors import (
    ClipWorkerError,
    ImageUnavailableError,
    InvalidRequestError,
    TemporaryError,
)
from clip_worker.quoting import shown_uri
from worker.sources.http_errors import may_pass
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from worker.sources.policy import FetchLimits

_COPIES = 2  # of an object, while a store's library joins its parts

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}


class ObjectStoreSource:
    """Reads URIs of the schemes that the operator has listed.

    Args:
        limits: The size limit applies, and the time limit to each request to the store.
    """

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Read an object.

        Raises:
            InvalidRequestError: `UNSUPPORTED_SCHEME`: the scheme's extra is not installed;
                `BAD_URI`: chained URIs, which fsspec would follow.
            ImageUnavailableError: `FETCH_404`, `FETCH_403` and other 4xx, `FETCH_TOO_LARGE`.
            TemporaryError: `FETCH_TIMEOUT`, `FETCH_OBJECT_STORE`.
        """
        if "::" in uri:
            raise bad_uri(uri, "chains locations with '::'; name one object, as in s3://bucket/key")
        try:
            return self._read(uri, _file_system(scheme_of(uri)), reserve)
        except ClipWorkerError:
            raise
        except Exception as error:  # each store's library has its own errors
            raise _translated(uri, error) from error

    def _read(self, uri: str, file_system: Any, reserve: Reserve) -> bytes:
        # Only file systems with an event loop accept a time-out.
        options = {"timeout": self._limits.total_s} if file_system.async_impl else {}
        info = file_system.info(uri, **options)
        if info["type"] != "file":
            raise _not_found(uri)
        size = info["size"]
        if size > self._limits.max_bytes:
            raise too_large(uri, self._limits.max_bytes)
        reserve(_COPIES * size)
        data = file_system.cat_file(uri, start=0, end=size, **options) if size else b""
        return bytes(data)


def _file_system(scheme: str) -> Any:
    hint = f'pip install "clip-worker[{_EXTRAS.get(scheme, "s3")}]"'
    message = f"This worker can't read {scheme}:// URIs; its operator has to run {hint}."
    try:
        import fsspec

        # Not fsspec.open(): it accepts options in a URI, and thus hosts to connect to.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise InvalidRequestError(message, "UNSUPPORTED_SCHEME") from error
    except ValueError as error:  # a scheme that fsspec does not support
        raise InvalidRequestError(
            f"fsspec does not support the scheme {scheme!r}; the operator should remove it from "
            "CLIP_WORKER_OBJECT_STORE_SCHEMES.",
            "UNSUPPORTED_SCHEME",
        ) from error


def _translated(uri: str, error: Exception) -> ClipWorkerError:
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return _not_found(uri)
    if isinstance(error, PermissionError):
        return ImageUnavailableError(
            f"The object store denies this worker access to {shown_uri(uri)}.", "FETCH_403"
        )
    if isinstance(error, TimeoutError):
        return TemporaryError(
            f"The object store did not send {shown_uri(uri)} in time.", "FETCH_TIMEOUT"
        )
    if (status := _status(error)) and status >= 400 and not may_pass(status):
        return ImageUnavailableError(
            f"The object store answered with status {status} for {shown_uri(uri)}.",
            f"FETCH_{status}",
        )
    return TemporaryError(
        f"The object store failed to read {shown_uri(uri)}: {type(error).__name__}.",
        "FETCH_OBJECT_STORE",
    )


def _status(error: Exception) -> int:
    """The HTTP status in a store's own error; 0 if there is none."""
    response = getattr(error, "response", None)  # botocore's
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    candidates = (
        metadata.get("HTTPStatusCode"),
        getattr(error, "status_code", None),  # azure.core's
        getattr(error, "code", None),  # gcsfs's
        getattr(error, "status", None),  # aiohttp's
    )
    return next((status for status in candidates if isinstance(status, int)), 0)


def _not_found(uri: str) -> ImageUnavailableError:
    return ImageUnavailableError(f"There is no object {shown_uri(uri)}.", "FETCH_404")
