"""Clients of Amazon's services, and of those that speak their protocols.

Credentials, region and endpoints come from the environment or botocore's configuration files:
`AWS_ENDPOINT_URL`, for instance, for MinIO.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from clip_worker.errors import ClipWorkerError, ServiceError, TemporaryError

CONNECT_S = 5.0
READ_S = 30.0  # longer than a long poll
ATTEMPTS = 3
_SERVER_ERROR = 500
_TOO_MANY = 429
_PASSING = frozenset({"RequestTimeout", "Throttling", "ThrottlingException", "SlowDown"})


def aws_client(service: str, region: str | None = None) -> Any:
    """A client of a service.

    Args:
        service: `s3` or `sqs`.
        region: Its region; None for that of the environment.

    Raises:
        ServiceError: `NO_BOTOCORE`: the package is not installed; `FEED_FAILED`: there is no
            region.
    """
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError as error:
        raise ServiceError(
            'Buckets and SQS need botocore; run pip install "clip-worker[watch]".', "NO_BOTOCORE"
        ) from error
    with translated(f"The service {service}"):
        return get_session().create_client(
            service,
            region_name=region,
            config=Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                retries={"mode": "standard", "max_attempts": ATTEMPTS},
            ),
        )


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate botocore's errors.

    Args:
        what: Begins the sentence: the queue or the bucket.

    Raises:
        TemporaryError: `FEED_UNAVAILABLE`.
        ServiceError: `FEED_FAILED`: access is denied, there is no such thing, no credentials.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
    )
    from botocore.exceptions import (
        ConnectionError as LostConnectionError,
    )

    try:
        yield
    except ClientError as error:
        raise _answered(what, error.response) from error
    except (HTTPClientError, LostConnectionError) as error:
        raise TemporaryError(
            f"{what} can't be reached: {type(error).__name__}.", "FEED_UNAVAILABLE"
        ) from error
    except BotoCoreError as error:
        raise _failed(what, str(error).rstrip(".")) from error


def _answered(what: str, response: Any) -> ClipWorkerError:
    error = response.get("Error", {})
    code, status = error.get("Code", ""), response["ResponseMetadata"]["HTTPStatusCode"]
    said = f"{code}: {error.get('Message', '')}".rstrip(".")
    if status >= _SERVER_ERROR or status == _TOO_MANY or code in _PASSING:
        return TemporaryError(f"{what} can't be used for now: {said}.", "FEED_UNAVAILABLE")
    return _failed(what, said)


def _failed(what: str, reason: str) -> ServiceError:
    return ServiceError(
        f"{what} can't be used: {reason}; check its name, the region (AWS_REGION), the endpoint "
        "(AWS_ENDPOINT_URL) and the credentials.",
        "FEED_FAILED",
    )
