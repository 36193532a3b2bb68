"""Which URLs are taken as a mirror of the published weights."""

from __future__ import annotations

from urllib.parse import urlsplit

from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, without_password

EXAMPLE = "https://mirror.example/clip"


def check_mirror_url(url: str) -> str:
    """Give the URL back if `/<sha256>/<file>` can follow it.

    A name and a password in it are sent as HTTP's basic authentication.

    Raises:
        InvalidRequestError: `BAD_MIRROR`.
    """
    if not _can_be_base(url):
        raise InvalidRequestError(
            f"{quote(without_password(url))} is no mirror; give an http or https URL without ? "
            f"and #, such as {EXAMPLE}.",
            "BAD_MIRROR",
        )
    return url


def _can_be_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no IPv6 address, a port that is no number
        return False
    return known and url.isprintable() and not any(mark in url for mark in "?# ")
