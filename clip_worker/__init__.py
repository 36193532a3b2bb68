"""The client of clip-worker: send images, get their most probable labels.

It loads neither torch nor the model, so a web application can import it::

    from clip_worker import Client

    client = Client("redis://localhost:6379/0")
    answer = client.classify("https://example.com/cat.jpg", ["cat", "dog"]).get(timeout=30)

Any other Celery client that sends `clip.classify` with the same arguments gets the same result
(`clip_worker.contract`). The workers are in the package `worker`, which uses this one; this one
does not import it, so an application may have a module of that name.

What it exports is loaded when it is first asked for (PEP 562), because the processes of a worker
import some modules of this package, and not Celery.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_worker.client.async_client import AsyncClient
    from clip_worker.client.async_handle import AsyncHandle, async_as_completed
    from clip_worker.client.client import Client
    from clip_worker.client.handle import Handle, as_completed
    from clip_worker.client.image_request import ImageRequest
    from clip_worker.client.sign_tasks import sign_tasks
    from clip_worker.client.webhook import verify_signature, verify_webhook
    from clip_worker.contract.label_set_names import LabelSetVersion
    from clip_worker.contract.label_sets import LabelSet, LabelSetCalibration
    from clip_worker.contract.option_types import Score
    from clip_worker.contract.results import (
        Classification,
        Failure,
        Outcome,
        Prediction,
        Timing,
        UsedLabelSet,
    )
    from clip_worker.contract.search import SearchHit, SearchResult
    from clip_worker.contract.webhooks import WebhookEvent
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
    from clip_worker.version import __version__

__all__ = [
    "AsyncClient",
    "AsyncHandle",
    "Classification",
    "Client",
    "ClipWorkerError",
    "ExpiredError",
    "Failure",
    "Handle",
    "ImageInvalidError",
    "ImageRequest",
    "ImageUnavailableError",
    "InvalidRequestError",
    "LabelSet",
    "LabelSetCalibration",
    "LabelSetVersion",
    "Outcome",
    "Prediction",
    "QueueFullError",
    "QueueUnavailableError",
    "ResultTimeoutError",
    "Score",
    "SearchHit",
    "SearchResult",
    "ServiceError",
    "TemporaryError",
    "Timing",
    "UsedLabelSet",
    "WebhookEvent",
    "__version__",
    "as_completed",
    "async_as_completed",
    "sign_tasks",
    "verify_signature",
    "verify_webhook",
]

_MODULES = {
    "AsyncClient": "client.async_client",
    "AsyncHandle": "client.async_handle",
    "async_as_completed": "client.async_handle",
    "Client": "client.client",
    "Handle": "client.handle",
    "as_completed": "client.handle",
    "ImageRequest": "client.image_request",
    "Classification": "contract.results",
    "Failure": "contract.results",
    "Outcome": "contract.results",
    "Prediction": "contract.results",
    "Timing": "contract.results",
    "UsedLabelSet": "contract.results",
    "Score": "contract.option_types",
    "SearchHit": "contract.search",
    "SearchResult": "contract.search",
    "LabelSet": "contract.label_sets",
    "LabelSetCalibration": "contract.label_sets",
    "LabelSetVersion": "contract.label_set_names",
    "WebhookEvent": "contract.webhooks",
    "sign_tasks": "client.sign_tasks",
    "verify_signature": "client.webhook",
    "verify_webhook": "client.webhook",
    "__version__": "version",
}  # all others: errors


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
