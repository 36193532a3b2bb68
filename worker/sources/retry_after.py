"""Parses the header Retry-After (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,12}")  # more digits make no sense, and may overflow a float


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds to wait, at least 0; None if the header is missing or invalid.

    >>> retry_after_s("120", 0.0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 0.0)
    (120.0, 60.0)

    Args:
        value: Value of the header: seconds, or a date in any of HTTP's three forms.
        now: Unix time in seconds.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:  # the asctime form, which is in UTC too
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)
