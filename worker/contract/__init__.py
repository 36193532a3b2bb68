"""The contract on the wire: what producers send, what workers store, what both sides check.

Any Celery client in any language can take part in it; `worker.client` is the Python one. This
package loads no torch.
"""

from worker.contract.requests import (
    CLASSIFY,
    CLASSIFY_MANY,
    DEFAULT_K,
    DEFAULT_TEMPLATE,
    MAX_IMAGES,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_TEMPLATES,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    RequestOptions,
    parse,
)
from worker.contract.results import Classification, Failure, Outcome, Prediction, Timing

__all__ = [
    "CLASSIFY",
    "CLASSIFY_MANY",
    "DEFAULT_K",
    "DEFAULT_TEMPLATE",
    "MAX_IMAGES",
    "MAX_LABELS",
    "MAX_LABEL_CHARS",
    "MAX_TEMPLATES",
    "SENT_AT_HEADER",
    "Classification",
    "ClassifyManyRequest",
    "ClassifyRequest",
    "Failure",
    "Outcome",
    "Prediction",
    "RequestOptions",
    "Timing",
    "parse",
]
