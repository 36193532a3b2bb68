"""The schema of the task `clip.search`: its keyword arguments and its result."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictInt, StrictStr, model_validator

from clip_worker.contract.faults import FaultError
from clip_worker.contract.option_types import MAX_LABEL_CHARS, Number, Uri
from clip_worker.contract.results import Wire
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.quoting import quote

SEARCH = "clip.search"
DEFAULT_HITS = 20
MAX_HITS = 1000


def _check_text(text: str) -> str:
    if not is_text(text):
        raise FaultError(f"The text {quote(text)} {LONE_SURROGATE}.", "BAD_QUERY")
    if not text.strip():
        raise FaultError(f"The text {quote(text)} is blank; describe an image.", "BAD_QUERY")
    if len(text) > MAX_LABEL_CHARS:
        raise FaultError(
            f"The text {quote(text)} has {len(text)} characters; give at most {MAX_LABEL_CHARS}.",
            "BAD_QUERY",
        )
    return text


def _check_hits(k: int) -> int:
    if not 1 <= k <= MAX_HITS:
        raise FaultError(f"k is {k}; give 1 to {MAX_HITS}.", "BAD_K")
    return k


class SearchRequest(Wire):
    """Keyword arguments of `clip.search`: a text or an image.

    Attributes:
        text: What the images that are found shall show. It is encoded as it is, without a template;
            or
        image: URI of an image that they shall resemble.
        k: Maximum number of images.
        deadline: Unix time in seconds after which the task expires.
    """

    text: Annotated[StrictStr, AfterValidator(_check_text)] | None = None
    image: Uri | None = None
    k: Annotated[StrictInt, AfterValidator(_check_hits)] = DEFAULT_HITS
    deadline: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if self.text is None and self.image is None:
            raise FaultError("There is no text and no image; give one of the two.", "BAD_QUERY")
        if self.text is not None and self.image is not None:
            raise FaultError("There are a text and an image; give only one.", "BAD_QUERY")
        return self


class SearchHit(Wire):
    """An image that a search has found.

    Attributes:
        image: URI that it was last classified under, without secrets.
        content: SHA-256 of its file, in hexadecimal.
        cosine: Its similarity to the text or the image, in [-1, 1].
    """

    image: str
    content: str
    cosine: float


class SearchResult(Wire):
    """The result of `clip.search`.

    Attributes:
        hits: At most k, the most similar first.
        model: Name of the model.
        model_digest: SHA-256 of its checkpoint.
    """

    hits: tuple[SearchHit, ...]
    model: str
    model_digest: str
