"""The exceptions of `clip_worker.errors`, under the name that they had before."""

from clip_worker.errors import (
    ClipWorkerError,
    ExpiredError,
    ImageInvalidError,
    ImageUnavailableError,
    InvalidRequestError,
    QueueFullError,
    QueueUnavailableError,
    ResultTimeoutError,
    ServiceError,
    TemporaryError,
)

__all__ = [
    "ClipWorkerError",
    "ExpiredError",
    "ImageInvalidError",
    "ImageUnavailableError",
    "InvalidRequestError",
    "QueueFullError",
    "QueueUnavailableError",
    "ResultTimeoutError",
    "ServiceError",
    "TemporaryError",
]
