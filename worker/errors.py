"""What clip-worker raises, on the worker's side and, the same classes, on the client's.

::

    ClipWorkerError
    ├── InvalidRequestError    mend the request: labels, k, template, URI
    ├── ImageUnavailableError  this URI gives no picture: 404, refused, outside the roots
    ├── ImageInvalidError      what the URI gave is no usable picture
    ├── ExpiredError           the task's deadline passed before it was run
    ├── TemporaryError         try again later: time-out, 5xx, worker stopping
    │   ├── QueueUnavailableError  Redis can't be reached, or takes nothing: full, a replica
    │   ├── QueueFullError         as many messages are waiting as the producer allows
    │   └── ResultTimeoutError     no result within the time the caller gave
    └── ServiceError           call the operator: a bug, a broken model, a full disk

Celery's JSON results carry an exception as its class name, its module and its `args`, and the
client's side rebuilds it from these if the module is imported. So every class here keeps
`args == (message, code)` and takes just these two. The split is by what the caller should do;
`code` is the stable name of what happened.
"""

from __future__ import annotations

from typing import ClassVar


class ClipWorkerError(Exception):
    """Root of all errors of this package.

    Args:
        message: One sentence for a person: the value at fault and what would be right.
        code: Stable name for programs, upper case, such as `FETCH_404`.
    """

    default_code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, code: str | None = None) -> None:
        # A lone surrogate would keep it out of results and logs.
        self.message = message.encode(errors="backslashreplace").decode()
        self.code = code or self.default_code
        super().__init__(self.message, self.code)

    def __str__(self) -> str:
        return self.message


class InvalidRequestError(ClipWorkerError):
    """The request itself is wrong; the same request will never succeed."""

    default_code = "INVALID_REQUEST"


class ImageUnavailableError(ClipWorkerError):
    """The URI gives no bytes, and asking again will not help."""

    default_code = "FETCH_REFUSED"


class ImageInvalidError(ClipWorkerError):
    """The bytes are there but are no usable picture."""

    default_code = "DECODE_BROKEN"


class ExpiredError(ClipWorkerError):
    """The task's deadline passed before it was run."""

    default_code = "EXPIRED"


class TemporaryError(ClipWorkerError):
    """Something outside the request failed; the same request may succeed later.

    Attributes:
        retry_after_s: Seconds that a server asked to wait, or None. It stays in the worker.
        sent: Ids of the tasks that `Client.submit_many` had sent before it failed.
    """

    default_code = "TEMPORARY"
    retry_after_s: float | None = None
    sent: tuple[str, ...] = ()


class QueueUnavailableError(TemporaryError):
    """Redis can't be reached, or refuses the message."""

    default_code = "QUEUE_UNAVAILABLE"


class QueueFullError(TemporaryError):
    """As many messages are waiting as the producer allows."""

    default_code = "QUEUE_FULL"


class ResultTimeoutError(TemporaryError):
    """No result came within the time that the caller gave."""

    default_code = "RESULT_TIMEOUT"


class ServiceError(ClipWorkerError):
    """The worker failed through no fault of the request."""

    default_code = "INTERNAL"
