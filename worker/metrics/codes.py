"""Error codes as values of a metric's label: a bounded set, whatever a server or a task raises."""

from __future__ import annotations

from http import HTTPStatus

from clip_worker.errors import ClipWorkerError

OTHER = "OTHER"  # of errors that are not ours

_FETCH = "FETCH_"
_STATUS_DIGITS = 3
CODES = frozenset({
    *("BAD_CALIBRATION", "BAD_K", "BAD_LABELS", "BAD_LABEL_SET", "BAD_SCORE", "BAD_TEMPLATE"),
    *("BAD_QUERY", "BAD_URI", "BAD_WEBHOOK", "BLANK_LABEL", "DUPLICATE_LABEL", "INVALID_REQUEST"),
    *("LABEL_TOO_LONG", "NO_LABELS", "TOO_MANY_LABELS", "UNKNOWN_ENSEMBLE"),
    *("SEARCH_DISABLED", "UNKNOWN_LABEL_SET", "UNSUPPORTED_SCHEME", "WEBHOOKS_DISABLED"),
    *("FETCH_BAD_REDIRECT", "FETCH_CONNECTION", "FETCH_CONTENT_ENCODING"),
    *("FETCH_FORBIDDEN_ADDRESS", "FETCH_OBJECT_STORE", "FETCH_REFUSED", "FETCH_TIMEOUT"),
    *("FETCH_TLS", "FETCH_TOO_LARGE", "FETCH_TOO_MANY_REDIRECTS", "FETCH_UNKNOWN_HOST"),
    *("FILE_IO", "FILE_NOT_FOUND", "FILE_NOT_READABLE", "FILE_NOT_REGULAR", "FILE_OUTSIDE_ROOTS"),
    *("BAD_UPLOAD", "EMPTY_UPLOAD", "UPLOAD_NOT_FOUND", "UPLOAD_STORE"),
    *("DECODE_BROKEN", "DECODE_CRASHED", "DECODE_TOO_EXPENSIVE", "DECODE_TRUNCATED"),
    *("DECODE_UNRECOGNIZED", "EMPTY_IMAGE", "TOO_MANY_PIXELS"),
    *("DEVICE_LOST", "INTERNAL", "OUT_OF_MEMORY", "PREPARATION_UNAVAILABLE", "TEMPORARY"),

    *("EXPIRED", "REVOKED", "STOPPING", "TASK_TIMEOUT"),
    *("BAD_SIGNING_KEY", "MESSAGE_TOO_LARGE", "POISON", "REJECTED", "UNKNOWN_TASK", "UNREADABLE"),
})  # fmt: skip


def code_of(error: BaseException) -> str:
    """An error's code; `OTHER` for one that is not ours."""
    return error.code if isinstance(error, ClipWorkerError) else OTHER


def label_of(code: str) -> str:
    """The label for an error's code.

    A server chooses the status in `FETCH_<status>`: those that HTTP does not define share one.

    >>> label_of("FETCH_404"), label_of("FETCH_599"), label_of("MADE_UP")
    ('FETCH_404', 'FETCH_5xx', 'OTHER')
    """
    if code in CODES:
        return code
    status = code.removeprefix(_FETCH)
    if status == code or len(status) != _STATUS_DIGITS or not status.isascii():
        return OTHER
    if not status.isdigit():
        return OTHER
    is_defined = int(status) in HTTPStatus.__members__.values()
    return code if is_defined else f"{_FETCH}{status[0]}xx"
