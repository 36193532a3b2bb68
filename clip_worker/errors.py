"""The exceptions of clip-worker, the same classes in workers and in clients.

::

    ClipWorkerError
    ├── InvalidRequestError    fix the request: labels, k, template, URI
    ├── ImageUnavailableError  check the URI: 404, not permitted, outside the file roots
    ├── ImageInvalidError      drop or convert the image: it can't be decoded
    ├── ExpiredError           the task's deadline passed before it ran
    ├── TemporaryError         try again later: timeout, 5xx, a worker that stops
    │   ├── QueueUnavailableError  Redis can't be reached or refuses writes: full, a replica
    │   ├── QueueFullError         the queue has reached the producer's limit
    │   └── ResultTimeoutError     no result within the caller's timeout
    └── ServiceError           tell the operator: a bug, a broken model, a full disk

The classes are split by what the caller should do; `code` is the stable name of what happened.
Celery's JSON results hold an exception's module, class name and `args`, from which a client that
has imported the module rebuilds it. So every class can be made from its `args`, and stays in this
module. A client that has not imported it gets an exception of a class that Celery makes up, which
shows its `args`: so these are one string, the message and then the code in brackets.
"""

from __future__ import annotations

import re
from typing import ClassVar

_WITH_CODE = re.compile(r"(.*) \[([A-Z][A-Z0-9_]*)\]", re.DOTALL)


class ClipWorkerError(Exception):
    """Base class of all exceptions of this package.

    Args:
        message: One sentence for people, with the value at fault and how to fix it. It may end
            with a code in brackets, as in `args`.
        code: Stable name for programs, such as `FETCH_404`; None for that of the message, or the
            class's default.

    Attributes:
        message: Without a code.
        code: See above.
        args: One string, such as `"The server answered 404. [FETCH_404]"`.
    """

    default_code: ClassVar[str] = "INTERNAL"

    def __init_subclass__(cls, code: str | None = None) -> None:
        super().__init_subclass__()
        cls.default_code = code or cls.default_code

    def __init__(self, message: str, code: str | None = None) -> None:
        if code is None and (stored := _WITH_CODE.fullmatch(message)):
            message, code = stored.groups()
        # A message with a lone surrogate could be neither stored nor logged.
        self.message = message.encode(errors="backslashreplace").decode()
        self.code = code or self.default_code
        super().__init__(f"{self.message} [{self.code}]")

    def __str__(self) -> str:
        return self.message


class InvalidRequestError(ClipWorkerError, code="INVALID_REQUEST"):
    """The request is invalid and will never succeed."""


class ImageUnavailableError(ClipWorkerError, code="FETCH_REFUSED"):
    """The URI can't be read, and trying again won't help."""


class ImageInvalidError(ClipWorkerError, code="DECODE_BROKEN"):
    """The URI's bytes are not an image that can be decoded."""


class ExpiredError(ClipWorkerError, code="EXPIRED"):
    """The task's deadline passed before it ran."""


class TemporaryError(ClipWorkerError, code="TEMPORARY"):
    """Something outside the request failed; it may succeed later.

    Attributes:
        retry_after_s: Seconds to wait, if a server stated them. Not passed on to clients.
        sent: Ids of the tasks that `Client.submit_many` sent before it failed.
    """

    retry_after_s: float | None = None
    sent: tuple[str, ...] = ()


class QueueUnavailableError(TemporaryError, code="QUEUE_UNAVAILABLE"):
    """Redis can't be reached or refuses the message."""


class QueueFullError(TemporaryError, code="QUEUE_FULL"):
    """The queue has reached the producer's limit."""


class ResultTimeoutError(TemporaryError, code="RESULT_TIMEOUT"):
    """No result arrived within the caller's timeout."""


class ServiceError(ClipWorkerError, code="INTERNAL"):
    """The worker failed for a reason other than the request."""
