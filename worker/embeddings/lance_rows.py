"""How embeddings are stored in Lance: the table of a space, its columns and its rows.

Axes: N embeddings, D numbers each.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.embeddings.redis_values import parse_space, space_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from worker.embeddings.store import Embedding, Space

NAME = re.compile(r"space_[0-9a-f]+")  # of our tables
_SPACE = b"clip_worker_space"  # key of the schema's metadata
# Lance lets two writers of one content know of each other, so that it is stored once.
_UNIQUE = {b"lance-schema:unenforced-primary-key": b"true"}


def table_of(space: Space) -> str:
    """The name of a space's table."""
    return f"space_{space_id(space)}"


def schema_of(space: Space) -> pa.Schema:
    """The columns of a space's table."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("content", pa.string(), nullable=False, metadata=_UNIQUE),
            pa.field("image", pa.string(), nullable=False),
            pa.field("feature", pa.list_(pa.float16(), space.dimensions), nullable=False),
        ],
        {_SPACE: json.dumps(asdict(space))},
    )


def space_of(schema: pa.Schema) -> Space | None:
    """The space whose table has this schema; None for a table that is not ours."""
    return parse_space((schema.metadata or {}).get(_SPACE, b""))


def batch_of(embeddings: Sequence[Embedding], space: Space) -> pa.Table:
    """Rows of embeddings; of several with one content the last."""
    import pyarrow as pa

    kept = list({embedding.content: embedding for embedding in embeddings}.values())
    features = np.stack([embedding.feature for embedding in kept]).astype(np.float16)  # [N, D]
    return pa.table(
        [
            pa.array([embedding.content for embedding in kept], pa.string()),
            pa.array([embedding.image for embedding in kept], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), space.dimensions),
        ],
        schema=schema_of(space),
    )


def features_of(rows: Any, space: Space) -> NDArray[np.float16]:
    """The features `[N, D]` of a table or a record batch of rows."""
    column = rows["feature"]
    parts = column.chunks if hasattr(column, "chunks") else [column]
    values = [part.flatten().to_numpy(zero_copy_only=False) for part in parts]
    together = np.concatenate(values) if values else np.empty(0, np.float16)
    return together.reshape(-1, space.dimensions)
