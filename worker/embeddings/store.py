"""What the pipeline, `retag` and `search` ask of a store of embeddings.

Axes: N embeddings, D numbers each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

LEAST_LENGTH, MOST_LENGTH = 0.9, 1.1  # of a sound embedding; of one that is damaged it may be any


@dataclass(frozen=True, slots=True)
class Space:
    """What embeddings must have in common to be compared.

    Attributes:
        model_digest: SHA-256 of the model's checkpoint, in hexadecimal.
        preprocessing: Names how pixels were made: resolution, resizing, exact or fast decoding.
        dimensions: D.
    """

    model_digest: str
    preprocessing: str
    dimensions: int


class Embedding(NamedTuple):
    """An embedding to store.

    Attributes:
        content: SHA-256 of the image file, in hexadecimal.
        image: URI that it was last classified under, without secrets.
        feature: float32 `[D]`, of length 1.
    """

    content: str
    image: str
    feature: NDArray[np.float32]


class EmbeddingBatch(NamedTuple):
    """Stored embeddings, in the order of a scan.

    Attributes:
        contents: N hashes.
        images: N URIs.
        features: float32 or float16 `[N, D]`, rows of length 1.
        position: Where a scan continues after these.
    """

    contents: Sequence[str]
    images: Sequence[str]
    features: NDArray[np.float32] | NDArray[np.float16]
    position: str


class Hit(NamedTuple):
    """An image that a search has found.

    Attributes:
        image: Its URI.
        content: SHA-256 of its file, in hexadecimal.
        cosine: Its similarity, in [-1, 1].
    """

    image: str
    content: str
    cosine: float


class EmbeddingStore(Protocol):
    """Embeddings by space and content. Threads and processes may share it.

    All methods raise `clip_worker.errors.TemporaryError`, code `EMBEDDING_STORE`, if the store
    can't be reached.
    """

    def get(self, space: Space, contents: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Features float32 `[D]` of those contents that are stored."""

    def put(self, space: Space, embeddings: Sequence[Embedding]) -> None:
        """Store embeddings; the last one of a content stays."""

    def count(self, space: Space) -> int:
        """How many are stored."""

    def spaces(self) -> Sequence[Space]:
        """The spaces of which something is stored."""

    def scan(
        self, space: Space, position: str | None = None, size: int = 65_536
    ) -> Iterator[EmbeddingBatch]:
        """Yield all embeddings, about `size` at a time, each content once.

        That holds as well for a scan that continues at a position. What is stored or removed
        meanwhile may be missing.

        Args:
            space: Of the embeddings.
            position: Where to continue; None to begin.
            size: N of most batches.
        """

    def search(self, space: Space, feature: NDArray[np.float32], k: int) -> Sequence[Hit]:
        """The k nearest images by cosine, the nearest first; by the store's index if it has one."""

    def close(self) -> None:
        """Release connections; again does nothing."""
