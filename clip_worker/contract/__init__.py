"""The contract between producers and workers: messages, requests, results, URIs, names in Redis.

Any Celery client in any language can be a producer; `clip_worker.client` is the Python one. This
package loads no torch.
"""

from clip_worker.contract.label_set_names import LabelSetVersion
from clip_worker.contract.label_sets import LabelSet, LabelSetCalibration
from clip_worker.contract.option_types import (
    DEFAULT_SCORE,
    DEFAULT_TEMPLATE,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_TEMPLATES,
    Score,
)
from clip_worker.contract.requests import (
    CLASSIFY,
    CLASSIFY_MANY,
    DEFAULT_K,
    MAX_IMAGES,
    MAX_MESSAGE_BYTES,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    RequestOptions,
    parse,
)
from clip_worker.contract.results import (
    Classification,
    Failure,
    Outcome,
    Prediction,
    Timing,
    UsedLabelSet,
)

__all__ = [
    "CLASSIFY",
    "CLASSIFY_MANY",
    "DEFAULT_K",
    "DEFAULT_SCORE",
    "DEFAULT_TEMPLATE",
    "MAX_IMAGES",
    "MAX_LABELS",
    "MAX_LABEL_CHARS",
    "MAX_MESSAGE_BYTES",
    "MAX_TEMPLATES",
    "SENT_AT_HEADER",
    "Classification",
    "ClassifyManyRequest",
    "ClassifyRequest",
    "Failure",
    "LabelSet",
    "LabelSetCalibration",
    "LabelSetVersion",
    "Outcome",
    "Prediction",
    "RequestOptions",
    "Score",
    "Timing",
    "UsedLabelSet",
    "parse",
]
