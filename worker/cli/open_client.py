"""The client of the commands that send images."""

from __future__ import annotations

import os

from clip_worker import Client
from clip_worker.client.image_file import REDIS_MAX_BYTES
from clip_worker.contract.signatures import KEYS_VARIABLE


def open_client(redis_url: str, queue: str) -> Client:
    """A client that uploads images of any size, for the worker decides what is too large for it.

    Args:
        redis_url: Of the option `--redis-url`.
        queue: Of the option `--queue`.

    Raises:
        InvalidRequestError: An argument, or CLIP_WORKER_SIGNING_KEYS, is invalid.
    """
    return Client(
        redis_url,
        queue=queue,
        max_upload_bytes=REDIS_MAX_BYTES,
        signing_keys=os.environ.get(KEYS_VARIABLE) or None,
    )
