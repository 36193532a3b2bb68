"""What goes wrong with the Hugging Face hub, as errors of this package, in one sentence each.

Messages name the repository and the endpoint, never a token.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from clip_engine.errors import DownloadError, ModelNotFoundError
from clip_engine.weights.http import without_login

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CACHE = "HF_HUB_CACHE"


@contextmanager
def translated(repository: str, revision: str | None) -> Iterator[None]:
    """Translate errors of `huggingface_hub` that are raised inside the block.

    Raises:
        ModelNotFoundError: There is no such repository or revision.
        DownloadError: The hub refuses, can't be reached or isn't one, or the disk is full.
    """
    try:
        yield
    except (ModelNotFoundError, DownloadError):
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise _translate(error, repository, revision) from error
    except Exception as error:  # httpx's, whose module is another one in each major version
        if not type(error).__module__.startswith("httpx"):
            raise
        raise _unreachable(repository, error) from error


def not_cached(repository: str, revision: str | None) -> DownloadError:
    """The error for files that are needed offline."""
    return DownloadError(
        f"The files of {_shown(repository, revision)} are not all in the cache, {_cache_dir()!r}, "
        "and downloads are disabled or failed; download the model there while there is a network."
    )


def _translate(error: Exception, repository: str, revision: str | None) -> Exception:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if isinstance(error, HFValidationError):
        return ModelNotFoundError(
            f"{repository!r} is not the name of a repository; give one such as "
            "'openai/clip-vit-base-patch32'."
        )
    if isinstance(error, HfHubHTTPError):
        return _refused(error, repository, revision)
    if isinstance(error, LocalEntryNotFoundError):
        return _not_local(error, repository, revision)
    if isinstance(error, OSError) and error.errno is not None:
        return _disk_error(error)
    return _no_hub(repository, error)


def _not_local(error: Exception, repository: str, revision: str | None) -> Exception:
    """The error where the hub was not asked, or didn't answer, and the cache is incomplete."""
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, OfflineModeIsEnabled

    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _refused(cause, repository, revision)
    if cause is None or isinstance(cause, OfflineModeIsEnabled):
        return not_cached(repository, revision)
    if isinstance(cause, FileMetadataError):
        return _no_hub(repository, cause)
    return _unreachable(repository, cause)


def _refused(error: Exception, repository: str, revision: str | None) -> Exception:
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint = _endpoint()
    status = getattr(getattr(error, "response", None), "status_code", "unknown")
    if isinstance(error, GatedRepoError):
        return DownloadError(
            f"The repository {repository!r} is gated; accept its terms at {endpoint}/{repository} "
            "and set HF_TOKEN to a token of that account."
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"There is no repository {repository!r} at {endpoint}, or it is private; check the "
            "name, or set HF_TOKEN to a token that may read it."
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(
            f"The repository {repository!r} has no revision {revision!r}; give a branch, a tag or "
            "a commit of it."
        )
    if status in (401, 403):
        return DownloadError(
            f"{endpoint} refuses to serve {repository!r} (status {status}); check that HF_TOKEN "
            "is valid and may read it."
        )
    return DownloadError(
        f"{endpoint} can't serve {repository!r} (status {status}); try again later, or set "
        "HF_ENDPOINT to a mirror."
    )


def _unreachable(repository: str, error: BaseException) -> DownloadError:
    reason = without_login(str(error)) or type(error).__name__
    return DownloadError(
        f"{_endpoint()} can't be reached for {repository!r} ({reason}); check the network, set "
        "HF_ENDPOINT to a mirror, or give the path of a folder with the model."
    )


def _no_hub(repository: str, error: BaseException) -> DownloadError:
    return DownloadError(
        f"{_endpoint()} doesn't answer as a Hugging Face hub for {repository!r} "
        f"({type(error).__name__}); check HF_ENDPOINT and proxies on the way."
    )


def _disk_error(error: OSError) -> DownloadError:
    reason = error.strerror or error
    if error.errno in _FULL:
        return DownloadError(
            f"The disk of {_cache_dir()!r} is full ({reason}); free some space, or set {_CACHE} to "
            "a folder on another disk."
        )
    return DownloadError(
        f"{error.filename or _cache_dir()!r} can't be used as a cache ({reason}); set {_CACHE} to "
        "a folder that this user can write to."
    )


def _shown(repository: str, revision: str | None) -> str:
    return repr(repository if revision is None else f"{repository}@{revision}")


def _endpoint() -> str:
    from huggingface_hub import constants

    return without_login(constants.ENDPOINT)


def _cache_dir() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE
