"""How an embedding is stored in Redis: the names of keys, and the bytes of a value.

The embeddings of a space lie in 256 hashes, by the first byte of the content's hash. A field is
the content's SHA-256 (32 bytes); its value is the feature as float16, little endian, and then the
URI. So a space has a bounded number of keys, and a scan goes through one hash after another.

Axes: D embedding.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from worker.embeddings.store import LEAST_LENGTH, MOST_LENGTH, Embedding, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "clip-worker:embeddings:"
SPACES = PREFIX + "spaces"  # hash, id of a space to its description as JSON
USED = PREFIX + "used"  # sorted set, id of a space and content to the Unix time of its last use
SIZE = PREFIX + "bytes"  # string: estimated bytes of all entries
SHARDS = 256  # hashes of a space
ID_CHARACTERS = 12  # of a space's id
VALUE = np.dtype("<f2")


def space_id(space: Space) -> str:
    """A short name for a space, the same in all processes."""
    return hashlib.sha256(space_json(space).encode()).hexdigest()[:ID_CHARACTERS]


def space_json(space: Space) -> str:
    """A space as it is stored."""
    return json.dumps(asdict(space), sort_keys=True)


def parse_space(text: bytes) -> Space | None:
    """The space that `space_json` wrote; None for anything else."""
    try:
        fields = json.loads(text)
        space = Space(fields["model_digest"], fields["preprocessing"], fields["dimensions"])
    except (ValueError, TypeError, KeyError):
        return None
    is_sound = isinstance(space.model_digest, str) and isinstance(space.preprocessing, str)
    return space if is_sound and type(space.dimensions) is int and space.dimensions > 0 else None


def shard_key(name: str, shard: int) -> str:
    """Hash, content to embedding: one of those of the space with this id."""
    return f"{PREFIX}{name}:{shard:02x}"


def encode_value(embedding: Embedding) -> bytes:
    """The bytes of an embedding's value."""
    return embedding.feature.astype(VALUE).tobytes() + embedding.image.encode()


def decode_feature(value: bytes, dimensions: int) -> NDArray[np.float32] | None:
    """The feature, float32 `[D]` of length 1; None if the bytes are not an embedding's."""
    if len(value) < VALUE.itemsize * dimensions:
        return None
    feature = np.frombuffer(value, VALUE, dimensions).astype(np.float32)
    length = float(np.linalg.norm(feature))
    return feature / length if LEAST_LENGTH < length < MOST_LENGTH else None  # also if NaN


def decode_image(value: bytes, dimensions: int) -> str:
    """The URI."""
    return value[VALUE.itemsize * dimensions :].decode(errors="replace")
